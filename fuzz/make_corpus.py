#!/usr/bin/env python3
"""Writes the seed files of corpus/frame and corpus/upgrade: one file a rule, and what keeps it."""

import pathlib
import struct

HERE = pathlib.Path(__file__).parent / "corpus"
MASK = bytes([0x37, 0xFA, 0x21, 0x3D])


def head(first, length):
    if length < 126:
        return bytes([first, 0x80 | length]) + MASK
    if length < 65536:
        return bytes([first, 0xFE]) + struct.pack(">H", length) + MASK
    return bytes([first, 0xFF]) + struct.pack(">Q", length) + MASK


def frame(first, payload=b""):
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return head(first, len(payload)) + masked


def close(code, reason=b""):
    return frame(0x88, struct.pack(">H", code) + reason)


EURO = "€".encode()
FRAMES = {
    "text": frame(0x81, b'{"type":"typing_indicator","is_typing":true}'),
    "text_empty": frame(0x81),
    "text_utf8": frame(0x81, "κόσμε 👍 e\u0301".encode()),
    "text_126": frame(0x81, b"x" * 126),
    "text_300": frame(0x81, b"x" * 300),
    "two_texts": frame(0x81, b"one") + frame(0x81, b"two"),
    "text_then_half": frame(0x81, b"one") + frame(0x81, b"two")[:7],
    "half_a_head": b"\x81",
    "half_a_long_head": head(0x82, 300)[:5],
    "binary": frame(0x82, b"\x00\xff\xfe"),
    "fragments": frame(0x01, b"Hel") + frame(0x00, b"l") + frame(0x80, b"o"),
    "fragments_cut_character": frame(0x01, EURO[:1]) + frame(0x00, EURO[1:2]) + frame(0x80, EURO[2:]),
    "fragments_empty": frame(0x01) + frame(0x00) + frame(0x80),
    "fragments_full": frame(0x02, b"a" * 300) + frame(0x80, b"b" * 100),
    "fragments_open": frame(0x01, b"one") + frame(0x00, b"two"),
    "ping_between_fragments": frame(0x01, EURO[:2]) + frame(0x89, b"p\xff") + frame(0x80, EURO[2:]),
    "ping_125": frame(0x89, bytes(125)),
    "pong_unasked": frame(0x8A, b"x"),
    "close_empty": frame(0x88),
    "close_1000": close(1000, "bye €".encode()),
    "close_1014": close(1014),
    "close_4001_then_text": close(4001) + frame(0x81, b"late"),
    "close_between_fragments": frame(0x01, b"half") + close(1001),
    "bad_close_1_byte": frame(0x88, b"\x03"),
    "bad_close_1005": close(1005),
    "bad_close_1016": close(1016),
    "bad_close_5000": close(5000),
    "bad_close_reason": close(1000, EURO[:2]),
    "bad_unmasked": b"\x81\x05Hello",
    "bad_rsv1": frame(0xC1, b"x"),
    "bad_rsv2": frame(0xA1, b"x"),
    "bad_rsv3": frame(0x91, b"x"),
    "bad_opcode_3": frame(0x83, b"x"),
    "bad_opcode_15": frame(0x8F),
    "bad_ping_fragmented": frame(0x09),
    "bad_ping_126": frame(0x89, bytes(126)),
    "bad_control_length_in_half_a_head": b"\x88\xff\x00\x00",
    "bad_continuation": frame(0x80, b"x"),
    "bad_text_in_message": frame(0x01, b"x") + frame(0x81, b"y"),
    "bad_length_16": b"\x81\xfe\x00\x05" + MASK + b"Hello",
    "bad_length_64": b"\x82\xff" + struct.pack(">Q", 300) + MASK + bytes(300),
    "bad_length_top_bit": b"\x82\xff" + struct.pack(">Q", 2**63 + 1) + MASK,
    "bad_utf8": frame(0x81, b"a\xffb"),
    "bad_utf8_cut_off": frame(0x81, b"a" + EURO[:2]),
    "bad_utf8_surrogate": frame(0x81, b"\xed\xa0\x80"),
    "bad_utf8_too_high": frame(0x81, b"ok \xf4\x90\x80\x80"),
    "bad_utf8_in_half_a_frame": frame(0x81, b"ok \xf4\x90 and more")[:12],
    "bad_utf8_over_fragments": frame(0x01, EURO[:1]) + frame(0x80, b"x"),
    "too_big_frame": head(0x81, 301),
    "too_big_2_62": b"\x82\xff" + struct.pack(">Q", 2**62) + MASK,
    "too_big_message": frame(0x01, b"x" * 300) + head(0x80, 101),
    "fragment_flood": frame(0x01, b"a") + frame(0x00, b"b") * 4,
    "fragment_flood_empty": frame(0x02) + frame(0x00) * 4,
    "script_text_and_ping": b"\x81\x05\x11Hello\x89\x02\x22hi\x88\x02\x33\x03\xe8",
    "script_fragments": b"\x01\x03\x11Hel\x89\x00\x44\x00\x01\x22l\x80\x01\x33o",
}

LINE = b"GET /ws/chat/77/?token=a.b.c HTTP/1.1\r\n"
GOOD = {
    b"Host": b"chat.example.com",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version": b"13",
}


def request(line=LINE, more=(), **changed):
    fields = dict(GOOD)
    for name, value in changed.items():
        name = next(n for n in fields if n.lower().decode().replace("-", "_").endswith(name))
        if value is None:
            del fields[name]
        else:
            fields[name] = value
    lines = [name + b": " + value + b"\r\n" for name, value in fields.items()]
    return line + b"".join(lines) + b"".join(extra + b"\r\n" for extra in more) + b"\r\n"


def target(path):
    return request(b"GET " + path + b" HTTP/1.1\r\n")


UPGRADES = {
    "good": request(),
    "good_with_frames": request() + frame(0x81, b"first"),
    "good_v2": target(b"/ws/chat/77/?v=2&since=41&epoch=9f3c61d2&token=a%2Eb"),
    "good_echo": target(b"/ws/echo?limits=serve"),
    "good_bearer": request(more=[b"Authorization: Bearer a.b.c"]),
    "good_subprotocol": request(more=[b"Sec-WebSocket-Protocol: loquat, bearer.a.b.c"]),
    "good_origin": request(more=[b"Origin: https://chat.example.com"]),
    "good_origin_loopback": request(host=b"localhost:8000", more=[b"Origin: http://localhost:3000"]),
    "good_origin_ipv6": request(host=b"[::1]:8000", more=[b"Origin: http://[::1]:3000"]),
    "good_forwarded": request(
        more=[b"X-Forwarded-For: 1.2.3.4, [2001:db8::1]:4711, 127.0.0.1", b"X-Real-IP: 1.2.3.4"]
    ),
    "good_connection_list": request(connection=b"keep-alive, upgrade"),
    "good_spaces": request(more=[b"Sec-WebSocket-Protocol: a" + b" " * 1000 + b"b"]),
    "good_not_text_elsewhere": request(more=[b"Cookie: \xff\xfe"]),
    "good_content_length_0": request(more=[b"Content-Length: 0"]),
    "plain": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "plain_1_0": b"GET /health HTTP/1.0\r\n\r\n",
    "plain_options": b"OPTIONS * HTTP/1.1\r\nHost: a\r\nOrigin: null\r\n\r\n",
    "plain_post": b"POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "plain_with_body": b"POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "half": request()[:-1],
    "bad_empty_line_first": b"\r\n" + request(),
    "bad_bare_lf": request().replace(b"\r\n", b"\n"),
    "bad_bare_cr": request(more=[b"X: a\rY: b"]),
    "bad_fold": request(more=[b"X: a\r\n b"]),
    "bad_space_before_colon": request(more=[b"X : a"]),
    "bad_vertical_tab": request(more=[b"X: a\x0bY: b"]),
    "bad_form_feed": request(more=[b"X: a\x0cY: b"]),
    "bad_file_separator": request(more=[b"X: a\x1cY: b"]),
    "bad_next_line": request(more=[b"X: a\x85Y: b"]),
    "bad_nul": request(more=[b"X: \x00"]),
    "bad_not_text": request(more=[b"Origin: \xff\xfe"]),
    "bad_doubled_host": request(more=[b"Host: other"]),
    "bad_doubled_key": request(more=[b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
    "bad_doubled_version": request(more=[b"Sec-WebSocket-Version: 13"]),
    "bad_doubled_origin": request(more=[b"Origin: https://a", b"Origin: https://a"]),
    "bad_doubled_length": request(more=[b"Content-Length: 0", b"Content-Length: 0"]),
    "bad_body": request(more=[b"Content-Length: 5"]) + b"hello",
    "bad_chunked": request(more=[b"Transfer-Encoding: chunked"]) + b"0\r\n\r\n",
    "bad_no_host": request(host=None),
    "bad_no_upgrade": request(upgrade=None),
    "bad_no_connection": request(connection=None),
    "bad_no_key": request(key=None),
    "bad_key": request(key=b"SGVsbG8sIHdvcmxkIQ=="),
    "bad_version_8": request(version=b"8"),
    "bad_post": request(LINE.replace(b"GET", b"POST")),
    "bad_http_1_0": request(LINE.replace(b"1.1", b"1.0")),
    "bad_id": target(b"/ws/chat/01/"),
    "bad_path": target(b"/ws/other"),
    "bad_percent": target(b"/ws/chat/%ff/"),
    "bad_v": target(b"/ws/chat/1/?v=3"),
    "bad_since": target(b"/ws/chat/1/?v=2&since=-1"),
    "too_many_headers": request(more=[b"a:b"] * 20),
    "too_large": request(more=[b"a: " + b"x" * 2048]),
}


def write(target_name, files):
    folder = HERE / target_name
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


write("frame", FRAMES)
write("upgrade", UPGRADES)
