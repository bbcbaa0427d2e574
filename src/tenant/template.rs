//! Templates in applications: `{{ tenant.host }}`, `{{ database.url }}`. Expressions only, every variable must exist.
//!
//! Secrets never pass through: a secret variable becomes a [`Piece::Secret`], which a pod resolves for itself.

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior, Value, syntax::SyntaxConfig};

use super::{
    Tenant,
    database::{CA_DIRECTORY, Login},
    secrets::secret_key,
    webhooks,
};
use crate::conditions::{Reason, Rejection};

/// Part of a rendered text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// Value of a key of a Secret in the hospital's namespace.
    Secret {
        /// Name of the Secret.
        secret: String,
        /// Key in it.
        key: String,
    },
}

/// A rendered text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub Vec<Piece>);

/// Opens and closes a secret's place while a template runs: characters that no text contains by accident (Unicode
/// private use), so that a filter applied to a secret is noticed.
const OPEN: char = '\u{F0000}';
const CLOSE: char = '\u{F0001}';
const MANGLED: &str = "a secret may not be changed by a filter; use it as it is";

/// Variables of the database, `{{ database.url }}`.
pub const DATABASE: &str = "database";
/// Variables of the cache, `{{ cache.url }}`.
pub const CACHE: &str = "cache";
/// Variables of all buckets, `{{ buckets.NAME.endpoint }}`.
pub const BUCKETS: &str = "buckets";
/// Variables of generated secrets, `{{ secrets.NAME }}`.
pub const SECRETS: &str = "secrets";
/// Variables of their values before the last rotation, `{{ previousSecrets.NAME }}`.
pub const PREVIOUS_SECRETS: &str = "previousSecrets";
/// Variables of the gate to servers outside, `{{ webhooks.proxy }}`.
pub const WEBHOOKS: &str = "webhooks";

/// Whether a text names a variable of this group, or may do so. A text that does not parse names none: it is rejected
/// where it is rendered.
pub fn mentions(text: &str, group: &str) -> bool {
    // Most texts are known to name none without being parsed.
    let first = group.split('.').next().unwrap_or_default();
    if !text.contains("{{") || !text.contains(first) {
        return false;
    }
    let environment = Environment::new();
    let below = |name: &str, group: &str| name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
    environment.template_from_str(text).is_ok_and(|template| {
        let mut used = template.undeclared_variables(true).into_iter();
        used.any(|name| name == group || below(&name, group) || below(group, &name))
    })
}

/// All variables that a template may use, by dotted name.
#[derive(Clone, Debug)]
pub struct Variables(BTreeMap<String, Piece>);

impl Variables {
    /// The variables of one hospital, for a component or step that uses the database under `login`.
    pub fn new(tenant: &Tenant, login: Login) -> Self {
        let mut all = Self(BTreeMap::new());
        all.text("tenant.name", &tenant.name);
        all.text("tenant.namespace", &tenant.namespace);
        all.text("tenant.host", &tenant.spec.host);
        all.text("tenant.hosts", &tenant.hosts().cloned().collect::<Vec<_>>().join(","));
        all.text("tenant.url", &public_url(tenant));
        all.text("tenant.version", &tenant.version.version);
        for (name, value) in &tenant.parameters {
            all.text(&format!("parameters.{name}"), value);
        }
        for secret in &tenant.application.secrets {
            let (name, key) = (&secret.name, secret_key(secret.kind));
            all.secret(&format!("{SECRETS}.{name}"), &tenant.secret(name), key);
            all.secret(&format!("{PREVIOUS_SECRETS}.{name}"), &tenant.previous_secret(name), key);
        }
        all.database(tenant, login);
        all.bindings(tenant);
        all
    }

    fn database(&mut self, tenant: &Tenant, login: Login) {
        let Some(database) = &tenant.database else { return };
        let secret = database.secret(login);
        self.text("database.host", &database.host);
        self.text("database.port", &database.port.to_string());
        self.text("database.name", &database.name);
        self.text("database.caFile", &format!("{CA_DIRECTORY}/ca.crt"));
        self.secret("database.username", &secret, "username");
        self.secret("database.password", &secret, "password");
        let url = format!(
            "{}://{OPEN}{secret}/username{CLOSE}:{OPEN}{secret}/password{CLOSE}@{}:{}/{}?sslmode=verify-full&sslrootcert={CA_DIRECTORY}/ca.crt",
            database.scheme, database.host, database.port, database.name,
        );
        self.text("database.url", &url);
    }

    fn bindings(&mut self, tenant: &Tenant) {
        let dependencies = tenant.application.dependencies.clone().unwrap_or_default();
        let bindings = tenant.spec.bindings.clone().unwrap_or_default();
        if let (Some(dependency), Some(cache)) = (dependencies.cache, bindings.cache) {
            let port = cache.port.unwrap_or(6379);
            let index = dependency.index.unwrap_or(0);
            self.text("cache.host", &cache.host);
            self.text("cache.port", &port.to_string());
            self.secret("cache.password", &cache.secret, "password");
            self.text(
                "cache.url",
                &format!("rediss://:{OPEN}{}/password{CLOSE}@{}:{port}/{index}", cache.secret, cache.host),
            );
        }
        for bucket in dependencies.buckets {
            let Some(binding) = bindings.buckets.get(&bucket.name) else { continue };
            let field = |part: &str| format!("buckets.{}.{part}", bucket.name);
            self.text(&field("endpoint"), &binding.endpoint);
            self.text(&field("name"), &binding.name);
            self.text(&field("region"), binding.region.as_deref().unwrap_or("us-east-1"));
            self.secret(&field("accessKeyId"), &binding.secret, "accessKeyId");
            self.secret(&field("secretAccessKey"), &binding.secret, "secretAccessKey");
        }
        if webhooks::dependency(tenant).is_some() {
            self.text("webhooks.proxy", &webhooks::proxy(tenant));
            self.text("webhooks.noProxy", &webhooks::around(tenant));
        }
    }

    /// Names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Renders one text; `field` names it in errors.
    pub fn render(&self, field: &str, text: &str) -> Result<Text, Rejection> {
        let invalid = |message: String| Rejection::terminal(field, Reason::TemplateInvalid, message);
        if text.contains("{%") || text.contains("{#") {
            return Err(invalid("only expressions {{ … }} are allowed; remove the {% or {# block".to_owned()));
        }
        if !text.contains("{{") {
            return Ok(Text(vec![Piece::Text(text.to_owned())]));
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        environment.set_syntax(syntax.map_err(|error| invalid(error.to_string()))?);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        let broken = |error: minijinja::Error| {
            let line = error.line().unwrap_or(1);
            invalid(format!("line {line}: {error}; correct the expression"))
        };
        let template = environment.template_from_str(text).map_err(broken)?;
        let used = template.undeclared_variables(true);
        for name in &used {
            self.known(name).map_err(invalid)?;
        }
        let rendered = template.render(self.tree()).map_err(broken)?;
        if !used.iter().all(|name| self.comes_out_whole(name, &rendered)) {
            return Err(invalid(MANGLED.to_owned()));
        }
        let text = split(&rendered).map_err(&invalid)?;
        self.untouched(&text).map_err(invalid)?;
        Ok(text)
    }

    fn known(&self, name: &str) -> Result<(), String> {
        if self.0.contains_key(name) {
            return Ok(());
        }
        let group = name.split('.').next().unwrap_or_default();
        let mut near: Vec<_> = self.names().filter(|known| known.split('.').next() == Some(group)).collect();
        if near.is_empty() {
            near = self.names().collect();
        }
        Err(format!("unknown variable {name}; known are: {}", near.join(", ")))
    }

    /// An expression that only looks at a secret (its length, a comparison) would see its place and not its value.
    fn comes_out_whole(&self, name: &str, rendered: &str) -> bool {
        match self.0.get(name) {
            Some(Piece::Secret { secret, key }) => rendered.contains(&format!("{OPEN}{secret}/{key}{CLOSE}")),
            Some(Piece::Text(text)) => !text.contains(OPEN) || rendered.contains(text.as_str()),
            None => true,
        }
    }

    /// A filter that changes a secret's place leaves a place that no variable has.
    fn untouched(&self, text: &Text) -> Result<(), String> {
        let known = |name: &str, key: &str| {
            let place = format!("{OPEN}{name}/{key}{CLOSE}");
            self.0.values().any(|piece| match piece {
                Piece::Secret { secret, key: k } => secret == name && k == key,
                Piece::Text(text) => text.contains(&place),
            })
        };
        if text.secrets().all(|(secret, key)| known(secret, key)) { Ok(()) } else { Err(MANGLED.to_owned()) }
    }

    fn tree(&self) -> Value {
        let mut root = serde_json::Map::new();
        for (name, piece) in &self.0 {
            let text = match piece {
                Piece::Text(text) => text.clone(),
                Piece::Secret { secret, key } => format!("{OPEN}{secret}/{key}{CLOSE}"),
            };
            insert(&mut root, name, text);
        }
        Value::from(minijinja::value::Serde(root))
    }

    fn text(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), Piece::Text(value.to_owned()));
    }

    fn secret(&mut self, name: &str, secret: &str, key: &str) {
        self.0.insert(name.to_owned(), Piece::Secret { secret: secret.to_owned(), key: key.to_owned() });
    }
}

impl Text {
    /// Whether any part is secret.
    pub fn is_secret(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Secret { .. }))
    }

    /// Secrets that the text names.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Secret { secret, key } => Some((secret.as_str(), key.as_str())),
            Piece::Text(_) => None,
        })
    }

    /// The text with each secret replaced by what `place` makes of it.
    pub fn fill(&self, escape: impl Fn(&str) -> String, place: impl Fn(&str, &str) -> String) -> String {
        let part = |piece: &Piece| match piece {
            Piece::Text(text) => escape(text),
            Piece::Secret { secret, key } => place(secret, key),
        };
        self.0.iter().map(part).collect()
    }
}

/// Address of the hospital for its users.
pub fn public_url(tenant: &Tenant) -> String {
    let public = tenant.platform.gateway.as_ref().and_then(|gateway| gateway.public.clone());
    match public {
        None => format!("https://{}", tenant.spec.host),
        Some(public) => {
            let standard = matches!((public.scheme.as_str(), public.port), ("https", 443) | ("http", 80));
            let port = if standard { String::new() } else { format!(":{}", public.port) };
            format!("{}://{}{port}", public.scheme, tenant.spec.host)
        }
    }
}

fn insert(map: &mut serde_json::Map<String, serde_json::Value>, name: &str, text: String) {
    let Some((first, rest)) = name.split_once('.') else {
        map.insert(name.to_owned(), text.into());
        return;
    };
    let inner = map.entry(first).or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
    if let Some(inner) = inner.as_object_mut() {
        insert(inner, rest, text);
    }
}

fn split(rendered: &str) -> Result<Text, String> {
    let mut pieces = Vec::new();
    let mut rest = rendered;
    let mangled = || MANGLED.to_owned();
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (place, after) = after.split_once(CLOSE).ok_or_else(mangled)?;
        let (secret, key) = place.split_once('/').ok_or_else(mangled)?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Secret { secret: secret.to_owned(), key: key.to_owned() });
        rest = after;
    }
    if rest.contains(CLOSE) {
        return Err(mangled());
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(Text(pieces))
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn a_text_mentions_the_groups_of_the_variables_that_it_names() {
        let url = "postgres at {{ database.url }} and {{ buckets.pictures.name | upper }}";
        assert!(mentions(url, "database") && mentions(url, "buckets.pictures"));
        for other in ["cache", "buckets.files", "data", "tenant"] {
            assert!(!mentions(url, other), "{other}");
        }
        assert!(!mentions("database.url without an expression", "database"));
        // Which bucket it is shows only when it runs.
        assert!(mentions("{{ buckets[tenant.name] }}", "buckets.files"));
        assert!(!mentions("{{ database.url", "database"));
    }
}
