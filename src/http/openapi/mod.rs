//! The OpenAPI document, made from a table: one row a route, shapes as types. What a row says of an answer is
//! held against real answers by `tests/http_side/openapi.rs`, which also finds routes without a row.

mod admin;
mod api;
#[expect(dead_code, reason = "only their schemas are used")]
mod shapes;

use std::borrow::Cow;
use std::collections::BTreeMap;

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, Required, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

/// A shape of JSON: what it is called, what it looks like, and what else it names.
#[derive(Clone, Copy)]
struct Shape {
    name: fn() -> Cow<'static, str>,
    collect: fn(&mut Vec<(String, RefOr<Schema>)>),
}

const fn shape<T: ToSchema + PartialSchema>() -> Shape {
    Shape { name: T::name, collect: collect::<T> }
}

fn collect<T: ToSchema + PartialSchema>(into: &mut Vec<(String, RefOr<Schema>)>) {
    into.push((T::name().into_owned(), T::schema()));
    T::schemas(into);
}

impl Shape {
    fn reference(self) -> Ref {
        Ref::from_schema_name((self.name)())
    }
}

/// Who may call a route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// With a user's token.
    User,
    /// With the admin token.
    Operator,
    Anyone,
}

/// One thing that can come back. Errors that every route of a caller may give are added to each.
struct Answer {
    status: u16,
    says: &'static str,
    body: Option<Shape>,
}

/// A parameter of the query.
struct Asked {
    name: &'static str,
    says: &'static str,
    shape: Shape,
}

struct Row {
    method: HttpMethod,
    path: &'static str,
    /// Its name for programs.
    id: &'static str,
    says: &'static str,
    caller: Caller,
    query: Vec<Asked>,
    body: Option<Shape>,
    answers: Vec<Answer>,
}

/// A row; queries, bodies and answers are added to it.
fn row(method: HttpMethod, path: &'static str, id: &'static str, says: &'static str) -> Row {
    let caller = match path {
        _ if path.starts_with("/api/") => Caller::User,
        "/livez" | "/readyz" => Caller::Anyone,
        _ => Caller::Operator,
    };
    Row { method, path, id, says, caller, query: Vec::new(), body: None, answers: Vec::new() }
}

fn get(path: &'static str, id: &'static str, says: &'static str) -> Row {
    row(HttpMethod::Get, path, id, says)
}

fn put(path: &'static str, id: &'static str, says: &'static str) -> Row {
    row(HttpMethod::Put, path, id, says)
}

fn post(path: &'static str, id: &'static str, says: &'static str) -> Row {
    row(HttpMethod::Post, path, id, says)
}

fn delete(path: &'static str, id: &'static str, says: &'static str) -> Row {
    row(HttpMethod::Delete, path, id, says)
}

impl Row {
    fn asks<T: ToSchema + PartialSchema>(mut self, name: &'static str, says: &'static str) -> Row {
        self.query.push(Asked { name, says, shape: shape::<T>() });
        self
    }

    fn takes<T: ToSchema + PartialSchema>(self) -> Row {
        Row { body: Some(shape::<T>()), ..self }
    }

    fn answers<T: ToSchema + PartialSchema>(mut self, status: u16, says: &'static str) -> Row {
        self.answers.push(Answer { status, says, body: Some(shape::<T>()) });
        self
    }

    /// Without a body, or with one that is no JSON.
    fn answers_bare(mut self, status: u16, says: &'static str) -> Row {
        self.answers.push(Answer { status, says, body: None });
        self
    }

    fn fails(self, status: u16, says: &'static str) -> Row {
        self.answers::<shapes::Failure>(status, says)
    }

    fn shapes(&self) -> impl Iterator<Item = Shape> {
        let answers = self.answers.iter().filter_map(|answer| answer.body);
        let query = self.query.iter().map(|asked| asked.shape);
        answers.chain(query).chain(self.body)
    }

    fn operation(&self) -> OperationBuilder {
        let mut operation = OperationBuilder::new()
            .operation_id(Some(self.id))
            .summary(Some(self.says))
            .tag(match self.caller {
                Caller::User => "api",
                Caller::Operator => "admin",
                Caller::Anyone => "health",
            });
        operation = self.parameters().into_iter().fold(operation, OperationBuilder::parameter);
        if let Some(body) = self.body {
            let content = ContentBuilder::new().schema(Some(body.reference())).build();
            let body = RequestBodyBuilder::new().content("application/json", content).build();
            operation = operation.request_body(Some(body));
        }
        operation = self.secured(operation);
        self.answers.iter().fold(operation, |operation, answer| {
            operation.response(answer.status.to_string(), answer.response())
        })
    }

    /// Those of the path, then those of the query.
    fn parameters(&self) -> Vec<ParameterBuilder> {
        let of_path = self.path.split('/').filter_map(|part| part.strip_prefix('{')).map(|name| {
            let name = name.trim_end_matches('}');
            let shape = match name {
                "message" => shape::<shapes::Number>(),
                _ => shape::<shapes::Id>(),
            };
            parameter(name, ParameterIn::Path, shape).required(Required::True)
        });
        let of_query = self.query.iter().map(|asked| {
            parameter(asked.name, ParameterIn::Query, asked.shape)
                .required(Required::False)
                .description(Some(asked.says))
        });
        of_path.chain(of_query).collect()
    }

    fn secured(&self, operation: OperationBuilder) -> OperationBuilder {
        let by = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
        match self.caller {
            Caller::User => operation.security(by("token")).security(by("token_in_query")),
            Caller::Operator => operation.security(by("admin_token")),
            Caller::Anyone => operation,
        }
    }
}

fn parameter(name: &str, place: ParameterIn, shape: Shape) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).schema(Some(shape.reference()))
}

impl Answer {
    fn response(&self) -> ResponseBuilder {
        let response = ResponseBuilder::new().description(self.says);
        match self.body {
            Some(body) => {
                let content = ContentBuilder::new().schema(Some(body.reference())).build();
                response.content("application/json", content)
            }
            None => response,
        }
    }
}

fn health() -> [Row; 2] {
    [
        get("/livez", "livez", "Whether the process should go on (both ports)")
            .answers_bare(200, "it does its work")
            .fails(503, "a reactor is stuck: restart it"),
        get("/readyz", "readyz", "Whether clients should be sent here (both ports)")
            .answers_bare(200, "they should")
            .fails(503, "it starts, drains, or stores nothing now"),
    ]
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = api::rows().into_iter().chain(admin::rows()).chain(health()).collect();
    rows.sort_by_key(|row| row.path);
    rows
}

/// The whole document.
fn document() -> OpenApi {
    let rows = rows();
    let mut schemas = Vec::new();
    let of_paths = [shape::<shapes::Id>(), shape::<shapes::Number>()];
    for shape in rows.iter().flat_map(Row::shapes).chain(of_paths) {
        (shape.collect)(&mut schemas);
    }
    let schemas: BTreeMap<String, RefOr<Schema>> = schemas.into_iter().collect();
    let paths = rows.iter().fold(PathsBuilder::new(), |paths, row| {
        paths.path(row.path, PathItem::new(row.method.clone(), row.operation()))
    });
    let bearer = |says: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(says));
        SecurityScheme::Http(scheme.build())
    };
    let in_query = ApiKey::Query(ApiKeyValue::new("token"));
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme("token", bearer("The token that opens a socket"))
        .security_scheme("token_in_query", SecurityScheme::ApiKey(in_query))
        .security_scheme("admin_token", bearer("The text of the admin token file"));
    let info = InfoBuilder::new()
        .title("loquat")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("What loquat answers over HTTP: see docs/http.md"))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
}

/// The document as JSON, ending in a newline; `None` would be a mistake of ours.
pub fn text() -> Option<String> {
    document().to_pretty_json().ok().map(|text| text + "\n")
}
