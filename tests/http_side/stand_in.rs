//! Stand-ins for the shards, the directory and the reactors, and a client that writes its requests by
//! hand.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use loquat::auth::{Algorithm, Key, Keys, NewToken, Rules, Verifier, issue};
use loquat::http::{
    self, AdminReply, AdminSettings, AdminToken, ApiSettings, Busy, ConversationEntry, DemoUser,
    Directory, Health, HttpBounds, HttpCounts, HttpHandle, HttpPorts, HttpSettings, MemberEntry,
    Memberships, Metrics, Questions, Shards, Unreadable, Vitals,
};
use loquat::limits::Limits;
use loquat::model::{Access, ConversationId, Erasure, Identity, Role, UserId, Wall};
use loquat::node::admin::{AdminAnswer, AdminCommand};
use loquat::node::core::Reloadable;
use loquat::node::question::{self, AnswerTo, Question};
use loquat::store::{Opened, Store, StoreSettings};
use loquat::wire::upgrade::Listening;
use serde_json::Value;
use tempfile::TempDir;

pub const TOKEN: &str = "a-token-of-at-least-thirty-two-bytes";
/// For what must not happen: a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the stand-in for the shards does with the next commands.
#[derive(Clone, Copy)]
pub enum Mood {
    Answers(AdminAnswer),
    Busy,
    /// Keeps the reply and never calls it.
    Silent,
    /// Drops the reply.
    Forgetful,
}

pub struct World {
    pub mood: Mutex<Mood>,
    pub commands: Mutex<Vec<AdminCommand>>,
    pub kept: Mutex<Vec<AdminReply>>,
    pub vitals: Mutex<Vitals>,
    pub is_readable: Mutex<bool>,
    /// What shards say to questions; `None` keeps them waiting.
    pub answers: Mutex<fn(&Question) -> Option<question::Answer>>,
    pub questions: Mutex<Vec<Question>>,
    pub waiting: Mutex<Vec<AnswerTo>>,
    pub revoked_before: Mutex<Option<Wall>>,
    /// Keys and origins, as a reload may change them.
    pub gate: http::Gate,
    pub conversations: BTreeMap<ConversationId, BTreeMap<UserId, Role>>,
}

impl Shards for World {
    fn send_to_all(&self, command: AdminCommand, reply: AdminReply) -> Result<(), Busy> {
        self.send(command, reply)
    }

    fn send(&self, command: AdminCommand, reply: AdminReply) -> Result<(), Busy> {
        self.commands.lock().unwrap().push(command);
        match *self.mood.lock().unwrap() {
            Mood::Answers(answer) => {
                // Shards answer from threads of their own.
                std::thread::spawn(move || reply(answer));
            }
            Mood::Busy => return Err(Busy),
            Mood::Silent => self.kept.lock().unwrap().push(reply),
            Mood::Forgetful => drop(reply),
        }
        Ok(())
    }
}

pub const CREATED_AT: Wall = Wall(1_764_153_000_123);

impl World {
    fn readable(&self) -> Result<(), Unreadable> {
        if *self.is_readable.lock().unwrap() { Ok(()) } else { Err(Unreadable) }
    }
}

pub fn entry(conversation: &ConversationId) -> ConversationEntry {
    ConversationEntry { conversation: conversation.clone(), created_at: CREATED_AT }
}

impl Directory for World {
    fn conversation(&self, id: &ConversationId) -> Result<Option<ConversationEntry>, Unreadable> {
        self.readable()?;
        Ok(self.conversations.get_key_value(id).map(|(id, _)| entry(id)))
    }

    fn conversations(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationEntry>, Unreadable> {
        self.readable()?;
        let all = self.conversations.keys();
        Ok(all.filter(|id| after.is_none_or(|after| *id > after)).take(limit).map(entry).collect())
    }

    fn erasure(&self, user: &UserId) -> Result<Option<Erasure>, Unreadable> {
        self.readable()?;
        let begun_at = CREATED_AT;
        let done = Erasure::Done { begun_at, done_at: begun_at, messages: 3, reactions: 1 };
        Ok(match user.to_string().as_str() {
            "1" => Some(Erasure::Running { begun_at }),
            "2" => Some(done),
            _ => None,
        })
    }

    fn members(
        &self,
        conversation: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<MemberEntry>, Unreadable> {
        self.readable()?;
        let members = self.conversations.get(conversation).into_iter().flatten();
        let behind = members.filter(|(user, _)| after.is_none_or(|after| *user > after));
        let entry =
            |(user, role): (&UserId, &Role)| MemberEntry { user: user.clone(), role: *role };
        Ok(behind.take(limit).map(entry).collect())
    }
}

impl Questions for World {
    fn ask(&self, asked: Question, to: AnswerTo) -> Result<(), Busy> {
        let answer = (*self.answers.lock().unwrap())(&asked);
        self.questions.lock().unwrap().push(asked);
        match answer {
            Some(question::Answer::Busy) => return Err(Busy),
            Some(answer) => {
                std::thread::spawn(move || to(answer));
            }
            None => self.waiting.lock().unwrap().push(to),
        }
        Ok(())
    }
}

impl Memberships for World {
    fn revoked_before(&self, _: &UserId) -> Result<Option<Wall>, Unreadable> {
        self.readable()?;
        Ok(*self.revoked_before.lock().unwrap())
    }

    fn of_user(
        &self,
        identity: &Identity,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, Unreadable> {
        let all = self.conversations.iter();
        let mine = all.filter(|(_, members)| members.contains_key(&identity.user));
        let behind = mine.map(|(id, _)| id).filter(|id| after.is_none_or(|after| *id > after));
        Ok(behind.take(limit).cloned().collect())
    }
}

impl Health for World {
    fn vitals(&self) -> Vitals {
        *self.vitals.lock().unwrap()
    }
}

impl Metrics for World {
    fn exposition(&self, http: HttpCounts) -> String {
        format!("unauthorized {}\n", http.unauthorized)
    }
}

pub fn conversation(id: &str) -> ConversationId {
    ConversationId::parse(id).unwrap()
}

pub fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

/// A running HTTP thread and a listener in the place of the reactors.
pub struct Server {
    pub handle: HttpHandle,
    pub world: Arc<World>,
    pub reactor: TcpListener,
    _store: Resting,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

pub fn world() -> World {
    let members = [("1", Role::Admin), ("2", Role::Member), ("ann@x.org", Role::ReadOnly)];
    let members = members.map(|(id, role)| (user(id), role));
    let conversations = [("7", BTreeMap::from(members)), ("8", BTreeMap::new())];
    let reloadable = Reloadable {
        limits: Limits::DEFAULT,
        verifier: Verifier::new(Keys::new(vec![key()]).unwrap(), Rules::default()).unwrap(),
        allowed_origins: vec!["https://app.example.com".to_owned()],
    };
    World {
        mood: Mutex::new(Mood::Answers(AdminAnswer::Done)),
        commands: Mutex::default(),
        kept: Mutex::default(),
        vitals: Mutex::new(Vitals {
            oldest_turn_ms: 3,
            is_listening: true,
            is_accepting: true,
            has_room: true,
            is_draining: false,
        }),
        is_readable: Mutex::new(true),
        answers: Mutex::new(|_| None),
        questions: Mutex::default(),
        waiting: Mutex::default(),
        revoked_before: Mutex::default(),
        gate: Arc::new(ArcSwap::from_pointee(reloadable)),
        conversations: conversations.map(|(id, members)| (conversation(id), members)).into(),
    }
}

pub fn key() -> Key {
    Key::new(Algorithm::Hs256, "only the tests of the HTTP side sign with this").unwrap()
}

/// A user's token, as a socket would bring it.
pub fn token(id: &str, ttl_s: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let (user, rules) = (user(id), Rules::default());
    let claims = NewToken::new(&user, ttl_s, &rules);
    issue(&key(), &claims, Wall(now), "0123456789abcdef").unwrap()
}

/// The world's own gate takes the place of this one's: see [`Server::with`].
fn api() -> ApiSettings {
    ApiSettings { gate: world().gate, access: Access::Members, listening: Listening::Public }
}

pub fn settings(bounds: HttpBounds) -> HttpSettings {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let token = AdminToken::new(TOKEN.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let demo_users = vec![DemoUser {
        id: user("1"),
        name: "Ann <Lee>".to_owned(),
        token: "the-demo-token".to_owned(),
    }];
    HttpSettings { admin: Some(AdminSettings { listen, token }), api: api(), demo_users, bounds }
}

/// A store that nobody writes to; it goes with this.
pub type Resting = (Opened, TempDir);

pub fn ports(world: &Arc<World>) -> (HttpPorts, Resting) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
    let ports = HttpPorts {
        transfers: store.transfers(),
        shards: world.clone(),
        questions: world.clone(),
        memberships: world.clone(),
        directory: world.clone(),
        health: world.clone(),
        metrics: world.clone(),
    };
    (ports, (store, directory))
}

impl Server {
    pub fn start() -> Server {
        Server::with(settings(HttpBounds::default()))
    }

    /// User 1 is a member of so many conversations.
    pub fn crowded(count: u64) -> Server {
        let member = BTreeMap::from([(user("1"), Role::Member)]);
        let of = |id: u64| (ConversationId::from_number(id).unwrap(), member.clone());
        let conversations = (1..=count).map(of).collect();
        Server::of(World { conversations, ..world() }, settings(HttpBounds::default()))
    }

    pub fn with(settings: HttpSettings) -> Server {
        Server::of(world(), settings)
    }

    fn of(world: World, mut settings: HttpSettings) -> Server {
        let world = Arc::new(world);
        settings.api.gate = world.gate.clone();
        let (ports, store) = ports(&world);
        let handle = http::start(settings, ports).unwrap();
        let reactor = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Server { handle, world, reactor, _store: store }
    }

    /// A client's connection whose first bytes the reactor "has read" already.
    pub fn hand_over(&self, read: &[u8]) -> TcpStream {
        let client = TcpStream::connect(self.reactor.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (server, _) = self.reactor.accept().unwrap();
        self.handle.hand_over(server.into(), read.to_vec());
        client
    }

    pub fn public(&self, request: &str) -> Answer {
        answer(self.hand_over(request.as_bytes()))
    }

    pub fn admin_connection(&self) -> TcpStream {
        let client = TcpStream::connect(self.handle.admin_address().unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    pub fn admin_raw(&self, request: &str) -> Answer {
        let mut client = self.admin_connection();
        client.write_all(request.as_bytes()).unwrap();
        answer(client)
    }

    /// With the right token and, if there is a body, as JSON.
    pub fn admin(&self, line: &str, body: &str) -> Answer {
        self.admin_raw(&admin_request(line, body))
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.world.mood.lock().unwrap() = mood;
    }

    pub fn take_commands(&self) -> Vec<AdminCommand> {
        std::mem::take(&mut *self.world.commands.lock().unwrap())
    }
}

pub fn admin_request(line: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// All that comes until the server closes.
pub fn answer(mut client: TcpStream) -> Answer {
    let mut text = Vec::new();
    client.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
