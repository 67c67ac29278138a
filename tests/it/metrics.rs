//! `/metrics`: a strict reader understands it, and its figures move with what happened.

use serde_json::{Value, json};

use crate::harness::exposition::Exposition;
use crate::harness::{DEADLINE, Server, all_see, all_settled, person};

async fn text(server: &Server) -> String {
    match server.admin().must("GET", "/metrics", None).await {
        Value::String(text) => text,
        other => panic!("not a text: {other}"),
    }
}

async fn metrics(server: &Server) -> Exposition {
    Exposition::parse(&text(server).await)
}

/// Gauges are set about once a second: asks again until it holds.
async fn until(server: &Server, what: &str, holds: impl Fn(&Exposition) -> bool) -> Exposition {
    let begun = std::time::Instant::now();
    loop {
        let page = metrics(server).await;
        if holds(&page) {
            return page;
        }
        assert!(begun.elapsed() < DEADLINE, "waited for {what}: {page:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn figures_move_with_messages_and_sockets() {
    const MESSAGES: usize = 10;
    const SOCKETS: usize = 3;
    let server = Server::start();
    let mut room = server.room::<SOCKETS>("a-room-of-its-own").await;
    for n in 0..MESSAGES {
        let content = format!("the text of message {n}");
        room[n % SOCKETS].send(json!({"type": "chat_message", "content": content})).await;
        all_see(&mut room, &json!({"type": "chat_message", "message": {"content": content}})).await;
    }
    let delivered = (MESSAGES * SOCKETS) as f64;
    let page = until(&server, "deliveries", |page| {
        page.sum("loquat_deliveries_total", &[("kind", "event")]) >= delivered
    })
    .await;
    let sum = |name: &str, labels: &[(&str, &str)]| page.sum(name, labels);
    let messages = [("type", "chat_message")];
    assert_eq!(sum("loquat_deliveries_total", &[("kind", "event")]), delivered);
    assert_eq!(sum("loquat_frames_in_total", &messages), MESSAGES as f64);
    assert_eq!(sum("loquat_frames_out_total", &messages), MESSAGES as f64);
    assert_eq!(sum("loquat_sockets_opened_total", &[]), SOCKETS as f64);
    assert!(sum("loquat_connections_accepted_total", &[]) >= SOCKETS as f64);
    assert!(sum("loquat_sends_total", &[]) >= delivered);
    assert!(sum("loquat_sent_bytes_total", &[]) > delivered * 200.0);
    assert!(sum("loquat_received_bytes_total", &[]) > MESSAGES as f64 * 50.0);
    // Commits hold all the messages, and marks beside them.
    let commits = sum("loquat_commit_seconds_count", &[]);
    assert!(commits >= 1.0 && sum("loquat_commit_seconds_sum", &[]) > 0.0);
    assert!(sum("loquat_commit_records_sum", &[]) >= MESSAGES as f64);
    assert!(sum("loquat_commit_bytes_sum", &[]) >= MESSAGES as f64 * 100.0);
    assert!(sum("loquat_sync_seconds_count", &[]) >= commits);
    assert!(sum("loquat_disk_free_bytes", &[]) > 0.0 && sum("loquat_pages_bytes", &[]) > 0.0);
    assert!(sum("loquat_journal_segments", &[]) >= 1.0);
    until(&server, "sockets", |page| {
        page.sum("loquat_sockets", &[]) == SOCKETS as f64
            && page.sum("loquat_conversations_in_memory", &[]) == 1.0
            && page.sum("loquat_accepting", &[]) == 2.0
    })
    .await;
    let [first, ..] = room;
    first.close().await;
    until(&server, "one socket less", |page| {
        page.sum("loquat_sockets", &[]) == (SOCKETS - 1) as f64
            && page.sum("loquat_sockets_closed_total", &[("reason", "by_peer")]) == 1.0
    })
    .await;
}

#[tokio::test]
async fn refusals_repeats_and_closes_are_counted_by_their_words() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let id = room[0].say("read me").await["message"]["id"].clone();
    room[0].send(json!({"type": "chat_message", "content": ""})).await;
    room[0].error("empty").await;
    room[0].send_text("{").await;
    room[0].error("invalid_json").await;
    for _ in 0..3 {
        room[1].send(json!({"type": "read_receipt", "message_id": id})).await;
    }
    let seen = json!({"type": "read_receipt", "message_id": id, "user_id": 2});
    room[1].until_like(&seen).await;
    room[0].until_like(&seen).await;
    all_settled(&mut room).await;
    server.admin().must("POST", "/admin/conversations/1/members/2/kick", None).await;
    room[1].closed_with(4004, "kicked").await;
    let page = metrics(&server).await;
    let sum = |name: &str, labels: &[(&str, &str)]| page.sum(name, labels);
    assert_eq!(sum("loquat_refusals_total", &[("code", "empty")]), 1.0);
    assert_eq!(sum("loquat_refusals_total", &[("code", "invalid_json")]), 1.0);
    assert_eq!(sum("loquat_frames_out_total", &[("type", "error")]), 2.0);
    assert_eq!(sum("loquat_frames_in_total", &[("type", "rejected")]), 2.0);
    assert_eq!(sum("loquat_frames_in_total", &[("type", "read_receipt")]), 3.0);
    assert_eq!(sum("loquat_receipts_repeated_total", &[]), 2.0);
    assert_eq!(sum("loquat_sockets_closed_total", &[("reason", "kicked")]), 1.0);
    let mut refused = server.raw().await;
    refused.write(b"GET /ws/chat/1/ HTTP/1.1\r\nUpgrade: websocket\r\n\r\n").await;
    refused.rest().await;
    let page = metrics(&server).await;
    assert_eq!(page.sum("loquat_upgrades_refused_total", &[("status", "400")]), 1.0);
}

#[tokio::test]
async fn segments_and_what_becomes_of_them_are_counted() {
    let server = Server::with(&[("rate_limits", "off")]);
    let mut client = server.join("1", &person(1)).await;
    let content = "x".repeat(9_000);
    let page = async {
        loop {
            // A segment has 4 MiB.
            for _ in 0..100 {
                client.say(&content).await;
            }
            let page = metrics(&server).await;
            if page.sum("loquat_segments_sealed_total", &[]) >= 1.0 {
                return page;
            }
        }
    };
    let page = tokio::time::timeout(DEADLINE, page).await.expect("a segment is sealed");
    assert!(page.sum("loquat_page_build_seconds_count", &[]) >= 1.0);
    assert!(page.sum("loquat_page_build_seconds_sum", &[]) > 0.0);
    assert!(page.sum("loquat_pages_bytes", &[]) > 4_000_000.0);
    until(&server, "pages", |page| page.sum("loquat_segments_waiting", &[]) == 0.0).await;
}

#[tokio::test]
async fn operators_alone_see_them_and_nobody_s_name_is_in_them() {
    let server = Server::start();
    let mut client = server.join("a-private-room", &person("ann@x.test")).await;
    client.say("a secret of ann").await;
    for admin in [server.admin().with_token(""), server.admin().with_token("not-the-admin-token")] {
        let answer = admin.call("GET", "/metrics", None).await;
        assert_eq!((answer.status, &answer.body["code"]), (401, &json!("unauthorized")));
    }
    let text = text(&server).await;
    for name in ["private-room", "ann", "secret", "chat.test"] {
        assert!(!text.contains(name), "{name}\n{text}");
    }
    let page = Exposition::parse(&text);
    assert_eq!(page.sum("loquat_http_requests_total", &[("outcome", "unauthorized")]), 2.0);
    assert_eq!(page.sum("loquat_build_info", &[]), 1.0);
    assert_eq!(page.sum("loquat_draining", &[]), 0.0);
    assert!(page.sum("process_resident_memory_bytes", &[]) > 1_000_000.0);
    assert!(page.sum("process_open_fds", &[]) > 5.0);
    let manual = include_str!("../../docs/operating.md");
    for name in page.kinds.keys() {
        assert!(manual.contains(&format!("`{name}`")), "the manual does not explain {name}");
    }
    for (name, labels) in page.series() {
        let unit = ["loquat_", "process_"].iter().any(|prefix| name.starts_with(prefix));
        assert!(unit && labels.len() <= 2, "{name} {labels:?}");
    }
}
