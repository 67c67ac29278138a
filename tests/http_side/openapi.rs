//! The OpenAPI document says what the server does: every route has its row, and real answers have the
//! shapes that the rows name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use loquat::http;
use loquat::model::{MessageId, Seq};
use loquat::node::admin::AdminAnswer;
use serde_json::Value;

use crate::api::server;
use crate::stand_in::{Answer, CREATED_AT, Mood, Server, admin_request, token};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> Value {
    serde_json::from_str(&http::openapi_document().unwrap()).unwrap()
}

#[test]
fn the_page_in_docs_is_fresh() {
    let path = root().join("docs/openapi.json");
    let fresh = http::openapi_document().unwrap();
    if std::env::var_os("LOQUAT_BLESS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == fresh, "docs/openapi.json is stale: run this test with LOQUAT_BLESS=1");
}

#[test]
fn the_admin_port_serves_it() {
    let server = Server::start();
    let answer = server.admin("GET /openapi.json", "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json(), document());
}

/// The paths of the routes in a source file: the first literal of each `.route(`.
fn routes_of(path: &Path, prefix: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    let after = text.split(".route(").skip(1);
    let literals = after.filter_map(|rest| rest.trim_start().strip_prefix('"'));
    literals.map(|rest| format!("{prefix}{}", rest.split('"').next().unwrap())).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_route_has_a_row() {
    let folder = root().join("src/http");
    let mut routed = BTreeSet::new();
    for path in sources(&folder) {
        let is_api = path.starts_with(folder.join("api"));
        routed.extend(routes_of(&path, if is_api { "/api" } else { "" }));
    }
    // The demo page is no interface.
    for path in ["/", "/assets/{name}"] {
        routed.remove(path);
    }
    let described: BTreeSet<String> =
        document()["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(routed, described);
}

#[test]
fn every_row_has_a_route() {
    let server = server();
    for (path, item) in document()["paths"].as_object().unwrap() {
        let path = path.replace("{conversation}", "7").replace("{user}", "1");
        let path = path.replace("{message}", "456");
        for method in item.as_object().unwrap().keys() {
            let line = format!("{} {path}", method.to_uppercase());
            let answer = ask(&server, &line, "");
            let is_served = answer.status != 405 && answer.json()["error"] != NOTHING_THERE;
            assert!(is_served, "{line}: {} {}", answer.status, answer.body);
        }
    }
}

const NOTHING_THERE: &str = "there is nothing at this path";

fn ask(server: &Server, line: &str, body: &str) -> Answer {
    if line.contains(" /api/") {
        let bearer = format!("Authorization: Bearer {}\r\n", token("1", 60));
        return server.public(&format!("{line} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n"));
    }
    server.admin_raw(&admin_request(line, body))
}

/// Whether a value has this shape, no less and no more; an error says where it has not.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{at}: {why}: {value}"));
    if let Some(name) = schema["$ref"].as_str() {
        let target = document.pointer(name.trim_start_matches('#'));
        return fits(document, target.ok_or(format!("no {name}"))?, value, at);
    }
    for one_of in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[one_of].as_array() {
            let any = choices.iter().any(|choice| fits(document, choice, value, at).is_ok());
            return if any { Ok(()) } else { wrong("no choice fits") };
        }
    }
    if let Some(names) = schema["enum"].as_array() {
        return if names.contains(value) { Ok(()) } else { wrong("not one of the names") };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        other => return Err(format!("{at}: a schema of kind {other}")),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return wrong(&format!("a {kind}, not a {kinds:?}"));
    }
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(document, &schema["items"], item, &format!("{at}[{n}]"))?;
    }
    let none = serde_json::Map::new();
    let fields = value.as_object().unwrap_or(&none);
    for (name, field) in fields {
        let known = schema["properties"].get(name).or(schema.get("additionalProperties"));
        fits(document, known.ok_or(format!("{at}: {name} is not described"))?, field, name)?;
    }
    let required = schema["required"].as_array().into_iter().flatten();
    match required.filter_map(Value::as_str).find(|name| !fields.contains_key(*name)) {
        Some(missing) if kind == "object" => wrong(&format!("without {missing}")),
        _ => Ok(()),
    }
}

#[test]
fn answers_have_the_shapes_that_are_described() {
    let server = server();
    let document = document();
    let check = |line: &str, template: &str, body: &str, status: u16| {
        let answer = ask(&server, line, body);
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        let method = line.split(' ').next().unwrap().to_lowercase();
        let answers = &document["paths"][template][method]["responses"];
        let schema = &answers[status.to_string()]["content"]["application/json"]["schema"];
        fits(&document, schema, &answer.json(), line).unwrap_or_else(|why| panic!("{why}"));
    };
    let conversation = "/api/conversations/{conversation}";
    let message = format!("{conversation}/messages/{{message}}");
    check("GET /api/conversations", "/api/conversations", "", 200);
    check("GET /api/conversations/7", conversation, "", 200);
    check("GET /api/conversations/7?limit=0", conversation, "", 400);
    check("GET /api/conversations/7/messages", &format!("{conversation}/messages"), "", 200);
    check("GET /api/conversations/7/messages/456/replies", &format!("{message}/replies"), "", 200);
    check("GET /api/conversations/7/messages/456/edits", &format!("{message}/edits"), "", 200);
    let conversation = "/admin/conversations/{conversation}";
    let member = format!("{conversation}/members/{{user}}");
    check("GET /admin/conversations", "/admin/conversations", "", 200);
    check("PUT /admin/conversations/9", conversation, "", 201);
    check("GET /admin/conversations/7", conversation, "", 200);
    check("GET /admin/conversations/70", conversation, "", 404);
    check("GET /admin/conversations/7/members", &format!("{conversation}/members"), "", 200);
    check("PUT /admin/conversations/7/members/2", &member, r#"{"role":"member"}"#, 200);
    check("PUT /admin/users/2", "/admin/users/{user}", r#"{"first_name":"Bob"}"#, 200);
    let retention = r#"{"retention_days":null}"#;
    check(
        "PUT /admin/conversations/7/retention",
        &format!("{conversation}/retention"),
        retention,
        200,
    );
    check("POST /admin/users/2/erase", "/admin/users/{user}/erase", "", 202);
    check("GET /admin/users/1/erase", "/admin/users/{user}/erase", "", 200);
    check("GET /admin/users/2/erase", "/admin/users/{user}/erase", "", 200);
    let numbered =
        AdminAnswer::Numbered { message: MessageId(5), seq: Seq(9), created_at: CREATED_AT };
    *server.world.mood.lock().unwrap() = Mood::Answers(numbered);
    let post = r#"{"content":"x","system":true}"#;
    let messages = format!("{conversation}/messages");
    check("POST /admin/conversations/7/messages", &messages, post, 201);
    check("POST /admin/users/2/revoke", "/admin/users/{user}/revoke", r#"{"x":1}"#, 400);
}
