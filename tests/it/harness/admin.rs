//! The admin API, one request per connection.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use super::process::Secrets;
use super::raw::Raw;

pub struct Admin {
    address: SocketAddr,
    token: String,
    secrets: Arc<Secrets>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Admin {
    pub fn new(address: SocketAddr, token: &str, secrets: Arc<Secrets>) -> Admin {
        Admin { address, token: token.to_owned(), secrets }
    }

    #[must_use]
    pub fn with_token(self, token: &str) -> Admin {
        self.secrets.add(token);
        Admin { token: token.to_owned(), ..self }
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut raw = Raw::connect(self.address).await;
        raw.write(self.request(method, path, body).as_bytes()).await;
        let head = raw.head().await.unwrap_or_else(|| panic!("{method} {path}: no answer"));
        let chunked = head.header("transfer-encoding").is_some();
        assert!(!chunked, "{method} {path}: the tests read bodies with a length only");
        let body = raw.rest().await;
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into()),
        };
        Answer { status: head.status, body }
    }

    /// Lines in, lines out; the answer is whole, or this fails.
    pub async fn lines(&self, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
        let mut raw = Raw::connect(self.address).await;
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: admin.test\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n",
            self.token
        );
        if let Some(body) = body {
            body.lines().for_each(|line| self.secrets.add_sent(line));
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body.unwrap_or_default());
        raw.write(text.as_bytes()).await;
        let head = raw.head().await.unwrap_or_else(|| panic!("{method} {path}: no answer"));
        let body = raw.rest().await;
        let body = match head.header("transfer-encoding") {
            Some(_) => unchunked(&body).unwrap_or_else(|| panic!("{method} {path}: cut short")),
            None => body,
        };
        (head.status, String::from_utf8(body).expect("lines are UTF-8"))
    }

    fn request(&self, method: &str, path: &str, body: Option<Value>) -> String {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: admin.test\r\n");
        text.push_str("Connection: close\r\n");
        if !self.token.is_empty() {
            text.push_str(&format!("Authorization: Bearer {}\r\n", self.token));
        }
        let body = body.map(|body| body.to_string());
        if let Some(body) = &body {
            self.secrets.add_sent(body);
            text.push_str("Content-Type: application/json\r\n");
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&body.unwrap_or_default());
        text
    }

    /// A request that must do what it asks for.
    pub async fn must(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.call(method, path, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer.body
    }

    /// A conversation with these members and roles.
    pub async fn conversation(&self, conversation: &str, members: &[(&str, &str)]) {
        self.must("PUT", &format!("/admin/conversations/{conversation}"), None).await;
        for (user, role) in members {
            self.member(conversation, user, role).await;
        }
    }

    pub async fn member(&self, conversation: &str, user: &str, role: &str) {
        let path = format!("/admin/conversations/{conversation}/members/{user}");
        self.must("PUT", &path, Some(serde_json::json!({ "role": role }))).await;
    }
}

/// The bytes of a chunked body that came to its end.
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n")?;
        let length = std::str::from_utf8(&body[..end]).ok()?;
        let length = usize::from_str_radix(length, 16).ok()?;
        let chunk = body.get(end + 2..end + 2 + length)?;
        whole.extend_from_slice(chunk);
        body = body.get(end + 2 + length + 2..)?;
        if length == 0 {
            return Some(whole);
        }
    }
}
