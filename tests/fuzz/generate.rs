//! Objects by number: a valid one of the repository, with a few places changed to what the schema allows at its edges, or
//! does not allow at all.

use serde_json::{Map, Value, json};

use crate::support::{documents_of, files, merge, root, served};

pub const KINDS: [&str; 3] = ["HospitalPlatform", "HospitalApplication", "HospitalTenant"];

/// SplitMix64: small, good enough, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// What people, programs and attackers put into a text.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "0",
    "-",
    ".",
    "..",
    "/",
    "/etc",
    "/tmp",
    "/his",
    "web",
    "http",
    "cron",
    "database",
    "init",
    "1.0.0",
    "st-elsewhere",
    "st-elsewhere.example.org",
    "Example.ORG",
    "*.example.org",
    "https://example.org",
    "http://x",
    "example.org:443",
    "192.0.2.0/24",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "192.0.2.1",
    "192.0.2.1/33",
    "64Mi",
    "1Gi",
    "100m",
    "2",
    "0.5",
    "1e3",
    "99999999999999Gi",
    "9223372036854775807",
    "18446744073709551616",
    "-1",
    "0Mi",
    "1Ki",
    "chart",
    "registry.example.org/x@sha256:1111111111111111111111111111111111111111111111111111111111111111",
    "registry.example.org/x:latest",
    "2030-01-31T18:00:00Z",
    "2030-13-31T18:00:00Z",
    "tomorrow",
    "null",
    "true",
    "~",
    "{{ tenant.host }}",
    "{{ secrets.session_key }}",
    "{{ secrets.no_such }}",
    "{{ database.url }}",
    "{{",
    "}}",
    "{% for %}",
    "{{ ''.__class__ }}",
    "{{ 9 ** 999999 }}",
    "{{ tenant.host | replace('a', 'b') }}",
    "$(HOSTNAME)",
    "${X}",
    "`id`",
    "; rm -rf /",
    "'; DROP TABLE patients; --",
    "<script>",
    "a\nb",
    "a\tb",
    "\u{0}",
    "\u{7f}",
    "é",
    "名前",
    "🏥",
    "\u{202e}x",
    "a:b",
    "a=b",
    "a,b",
    "%00",
    "../../etc/passwd",
    "/a/../b",
    "/a:b",
    "PATH",
    "HIS_X",
    "a b",
    "A",
    "A_B",
    "_",
    "a_b",
    "a-b-",
];

const NUMBERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    3,
    80,
    443,
    1023,
    1024,
    65535,
    65536,
    2_147_483_647,
    -2_147_483_648,
    4_294_967_296,
    i64::MAX,
    i64::MIN,
];

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Makes objects of one kind.
pub struct Generator {
    schema: Value,
    bases: Vec<Value>,
}

impl Generator {
    pub fn of(kind: &str) -> Self {
        let crd = serde_json::to_value(served::of(kind)).unwrap();
        let schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
        Self { schema, bases: bases(kind) }
    }

    /// The object of that number.
    pub fn object(&self, seed: u64) -> Value {
        let mut random = Random(seed);
        let mut object = random.pick(&self.bases).clone();
        if random.one_in(40) {
            object["metadata"]["name"] = (*random.pick(TEXTS)).into();
        }
        for _ in 0..random.below(4) {
            let mut places = Vec::new();
            walk(&self.schema, &object["spec"], &[], &mut places);
            let (path, schema) = random.pick(&places).clone();
            change(&mut object["spec"], &path, &schema, &mut random);
        }
        object
    }
}

/// Valid resources: fixtures, what is shipped, and the files that use every field.
fn bases(kind: &str) -> Vec<Value> {
    let folder = kind.trim_start_matches("Hospital").to_lowercase();
    let read = |path: &std::path::Path| documents_of(&std::fs::read_to_string(path).unwrap(), "base").remove(0);
    let fixtures = root().join("tests/cases/fixtures");
    let fixture = read(&fixtures.join(format!("{folder}.yaml")));
    let mut everything = fixture.clone();
    merge(&mut everything, read(&root().join(format!("tests/cases/cel/{folder}/everything.yaml"))));
    let mut all = vec![fixture, everything];
    match kind {
        "HospitalApplication" => {
            all.extend(files(&root().join("manifests/applications"), "yaml").iter().map(|path| read(path)));
        }
        "HospitalTenant" => {
            all.extend(["care-tenant.yaml", "gnu-health-tenant.yaml"].map(|name| read(&fixtures.join(name))));
        }
        _ => {}
    }
    for object in &mut all {
        object["metadata"].as_object_mut().unwrap().retain(|key, _| key == "name");
    }
    all
}

/// Every place below a value that the schema knows, present or not.
fn walk(schema: &Value, value: &Value, path: &[Step], into: &mut Vec<(Vec<Step>, Value)>) {
    let below = |step: Step| path.iter().cloned().chain([step]).collect::<Vec<_>>();
    if let (Some(properties), true) = (schema["properties"].as_object(), value.is_object()) {
        for (name, inner) in properties {
            let path = below(Step::Key(name.clone()));
            into.push((path.clone(), inner.clone()));
            walk(inner, &value[name], &path, into);
        }
    }
    if let (true, Some(map)) = (schema["additionalProperties"].is_object(), value.as_object()) {
        for (name, inner) in map {
            let path = below(Step::Key(name.clone()));
            into.push((path.clone(), schema["additionalProperties"].clone()));
            walk(&schema["additionalProperties"], inner, &path, into);
        }
    }
    if let (true, Some(list)) = (schema["items"].is_object(), value.as_array()) {
        for (index, inner) in list.iter().enumerate() {
            let path = below(Step::Index(index));
            into.push((path.clone(), schema["items"].clone()));
            walk(&schema["items"], inner, &path, into);
        }
    }
}

fn change(spec: &mut Value, path: &[Step], schema: &Value, random: &mut Random) {
    let (last, parents) = path.split_last().unwrap();
    let mut parent = spec;
    for step in parents {
        parent = match step {
            Step::Key(key) => &mut parent[key.as_str()],
            Step::Index(index) => &mut parent[*index],
        };
    }
    let what = random.below(10);
    match (last, parent) {
        (Step::Key(key), Value::Object(map)) if what == 0 => drop(map.remove(key)),
        (Step::Index(index), Value::Array(list)) if what == 0 => drop(list.remove(*index)),
        (Step::Index(index), Value::Array(list)) if what == 1 => list.push(list[*index].clone()),
        (Step::Key(key), Value::Object(map)) => {
            let value = if what == 1 { hostile(random) } else { valid(schema, random, 0) };
            map.insert(key.clone(), value);
        }
        (Step::Index(index), Value::Array(list)) => list[*index] = valid(schema, random, 0),
        _ => {}
    }
}

/// Of any type.
fn hostile(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => random.one_in(2).into(),
        2 => (*random.pick(NUMBERS)).into(),
        3 => json!(1.5),
        4 => json!([]),
        5 => json!({}),
        6 => json!([null]),
        _ => (*random.pick(TEXTS)).into(),
    }
}

/// Of the schema's type, often at its bounds and sometimes one beyond.
fn valid(schema: &Value, random: &mut Random, depth: usize) -> Value {
    if let Some(values) = schema["enum"].as_array()
        && !random.one_in(8)
    {
        return random.pick(values).clone();
    }
    match schema["type"].as_str().unwrap_or_default() {
        "string" => text(schema, random).into(),
        "integer" => integer(schema, random).into(),
        "boolean" => random.one_in(2).into(),
        "array" => {
            let most = usize::try_from(schema["maxItems"].as_u64().unwrap_or(3)).unwrap();
            let count = if random.one_in(12) { (most + 1).min(20) } else { random.below(3) };
            (0..count).map(|_| valid(&schema["items"], random, depth + 1)).collect()
        }
        "object" => object(schema, random, depth),
        _ => hostile(random),
    }
}

fn object(schema: &Value, random: &mut Random, depth: usize) -> Value {
    let mut map = Map::new();
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let wanted = if required.contains(&name.as_str()) { !random.one_in(30) } else { random.one_in(2 + depth) };
        if wanted {
            map.insert(name.clone(), valid(inner, random, depth + 1));
        }
    }
    if schema["additionalProperties"].is_object() {
        for _ in 0..random.below(3) {
            map.insert((*random.pick(TEXTS)).to_owned(), valid(&schema["additionalProperties"], random, depth + 1));
        }
    }
    Value::Object(map)
}

fn text(schema: &Value, random: &mut Random) -> String {
    let bound = |name: &str| schema[name].as_u64().map(|bound| usize::try_from(bound).unwrap());
    let exactly =
        |length: usize, random: &mut Random| random.pick(&["a", "0", "é", "/a", "-"]).repeat(length.min(5_000));
    match (random.below(8), bound("minLength"), bound("maxLength")) {
        (0, _, Some(most)) => exactly(most, random),
        (1, _, Some(most)) => exactly(most + 1, random),
        (2, Some(least), _) => exactly(least, random),
        (3, Some(least), _) => exactly(least.saturating_sub(1), random),
        _ => (*random.pick(TEXTS)).to_owned(),
    }
}

fn integer(schema: &Value, random: &mut Random) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "bounds of schemas are small whole numbers")]
    let bound = |name: &str| schema[name].as_f64().map(|bound| bound as i64);
    match (random.below(6), bound("minimum"), bound("maximum")) {
        (0, Some(least), _) => least,
        (1, Some(least), _) => least - 1,
        (2, _, Some(most)) => most,
        (3, _, Some(most)) => most + 1,
        _ => *random.pick(NUMBERS),
    }
}
