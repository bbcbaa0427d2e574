//! Tables without lines, as kubectl prints them.

use comfy_table::{ContentArrangement, Row, Table, presets};

/// An empty table of that width. Knows nothing of the terminal, so that the same content gives the same text.
pub(crate) fn grid<T: Into<Row>>(width: u16, header: T) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .force_no_tty()
        .set_width(width)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}
