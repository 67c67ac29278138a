// A chat server on Node's ws, for loquat's load generator: server.mjs PORT NODE_MODULES.
//
// A client's message goes to all sockets of its room, the sender's too, as an event of the guide's shape, so that a
// delivery is about as long as loquat's. The event is always the same but for the text, which is cut out of the frame by
// position: no JSON is parsed, and there are no ids, no clock and no store. Nothing is checked (the token in the URL is
// ignored), logged or compressed, and frames that do not begin like a message are dropped.
//
// A message's frame is made once for the room by ws's own Sender.frame; per socket remains a write. Sockets stay
// corked until the turn of the event loop ends, so that what came together leaves in one system call.

import http from 'node:http'
import { createRequire } from 'node:module'
import path from 'node:path'

const [port, modules] = process.argv.slice(2)
const { Sender, WebSocketServer } = createRequire(path.resolve(modules, 'none.js'))('ws')

const MESSAGE_BYTES_MAX = 64 * 1024
const UNSENT_BYTES_MAX = 256 * 1024 * 1024
const BACKLOG = 65_535
const ROOM = /^\/ws\/chat\/([^/?]+)\/(?:\?|$)/
// What a chat message begins with; behind it come the text, as a JSON string, and a brace.
const SAID = Buffer.from('{"type":"chat_message","content":')
const EVENT_HEAD = Buffer.from('{"type":"chat_message","seq":1,"message":{"id":1000001,"content":')
const EVENT_TAIL = Buffer.from(
  ',"sender":{"id":1,"email":"ada@example.com","first_name":"Ada","last_name":"Lovelace"}' +
    ',"parent_message_id":null,"created_at":"2025-11-26T10:30:00.123Z","is_edited":false}}',
)
const FRAME = { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: true }

const rooms = new Map()
let corked = []

function join(room, socket) {
  const members = rooms.get(room) ?? new Set()
  rooms.set(room, members)
  members.add(socket)
  return members
}

function uncork() {
  const sockets = corked
  corked = []
  for (const socket of sockets) {
    socket.uncork()
    // Ended, not skipped.
    if (socket.writableLength > UNSENT_BYTES_MAX) socket.destroy()
  }
}

function isMessage(data) {
  return data.length > SAID.length && SAID.compare(data, 0, SAID.length) === 0
}

function publish(members, data) {
  const event = Buffer.concat([EVENT_HEAD, data.subarray(SAID.length, -1), EVENT_TAIL])
  const frame = Buffer.concat(Sender.frame(event, FRAME))
  if (corked.length === 0) setImmediate(uncork)
  for (const socket of members) {
    if (socket.writableCorked === 0) {
      socket.cork()
      corked.push(socket)
    }
    socket.write(frame)
  }
}

const server = http.createServer((_, response) => response.writeHead(404).end())
const upgrader = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MESSAGE_BYTES_MAX,
})

server.on('upgrade', (request, socket, head) => {
  const room = ROOM.exec(request.url)?.[1]
  if (room === undefined) return socket.destroy()
  upgrader.handleUpgrade(request, socket, head, (client) => {
    const members = join(room, socket)
    client.on('message', (data, isBinary) => {
      if (!isBinary && isMessage(data)) publish(members, data)
    })
    socket.on('close', () => members.delete(socket))
    // A connection that breaks is closed next; that suffices.
    client.on('error', () => {})
  })
})

server.on('connection', (socket) => socket.setNoDelay(true))
server.on('error', (error) => {
  console.error(`port ${port}: ${error.message}`)
  process.exit(1)
})
server.keepAliveTimeout = 0
server.requestTimeout = 0
server.listen({ port: Number(port), host: '127.0.0.1', backlog: BACKLOG })
