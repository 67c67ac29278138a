'use strict';
// The demo page's client: the guide's frames over one WebSocket. Everything that came from somebody
// else reaches the document as text, never as markup.

const byId = (id) => document.getElementById(id);
const users = JSON.parse(byId('demo-users').textContent);
const QUICK = ['👍', '❤️', '😂'];
const MORE = ['🎉', '🙏', '👀', '🔥', '✅', '❌', '😢', '😮', '🤔', '🚀', '👏', '💯'];
const MESSAGES_MAX = 500;
const TYPING_SHOWN_MS = 3600;
const CLOSED = {
  token_invalid: 'The server does not take this token.',
  token_expired: 'This token has expired: restart the demo and reload.',
  token_revoked: 'This token was revoked.',
  session_over: 'The session has ended: reload the page.',
  forbidden: 'You may not enter this conversation.',
  kicked: 'You were removed from this conversation.',
  too_many_connections: 'You have too many connections open.',
};

let me = users[0];
let conversation = '1';
let socket = null;
let attempt = 0;
let wasOpen = false;
let retryTimer, countdownTimer, settledTimer;
let replyTo = null;
let picking = null;
let readThrough = 0;
let typingSentAt = 0;
let typingIdle;
const names = new Map(users.map((user) => [String(user.id), user.name]));
const messages = new Map(); // id → {message, view}
const marks = new Map(); // user → the newest message that user has read
const online = new Set();
const typing = new Map(); // user → timer
const pending = new Map(); // client_msg_id → text of the last ones, given back when refused

// the document

function make(tag, className, text, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

function button(text, label, onClick) {
  const element = make('button', '', text);
  element.type = 'button';
  if (label) element.setAttribute('aria-label', label);
  element.addEventListener('click', onClick);
  return element;
}

function toast(text) {
  const box = byId('toasts');
  while (box.children.length > 3) box.firstChild.remove();
  const note = make('p', 'toast', text);
  box.append(note);
  setTimeout(() => note.remove(), 7000);
}

const nameOf = (id) => names.get(String(id)) || `User ${id}`;
const isMe = (id) => String(id) === String(me.id);
const clock = (at) => at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });

function listed(words) {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

function hue(id) {
  let sum = 0;
  for (const letter of String(id)) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return (sum * 47) % 360;
}

function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const picked = words.length > 1 ? [words[0], words.at(-1)] : words;
  return picked.map((word) => [...word][0]).join('').toUpperCase();
}

const scroll = byId('scroll');
const isAtEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
function toEnd() {
  scroll.scrollTop = scroll.scrollHeight;
  byId('newest').hidden = true;
}

// messages

function learnSender(sender) {
  const full = `${sender.first_name || ''} ${sender.last_name || ''}`.trim();
  if (full || sender.email) names.set(String(sender.id), full || sender.email);
}

function build(message) {
  const who = nameOf(message.sender.id);
  const at = new Date(message.created_at);
  const time = make('time', '', clock(at));
  time.dateTime = message.created_at;
  time.title = at.toLocaleString();
  const view = {
    quote: button('', '', () => show(message.parent_message_id)),
    text: make('p', 'text'),
    reactions: make('div', 'reactions'),
    actions: make('div', 'actions'),
    seen: make('p', 'seen'),
    edit: null,
  };
  view.quote.className = 'quote';
  view.quote.hidden = message.parent_message_id == null;
  const face = make('span', 'face', initials(who));
  face.setAttribute('aria-hidden', 'true');
  face.style.setProperty('--hue', hue(message.sender.id));
  const more = button('⋯', `Actions for ${who}’s message`, () => toggle(view));
  more.className = 'more';
  const head = make('div', 'head', '', make('strong', '', who), time, more);
  const { quote, text, reactions, actions, seen } = view;
  const content = make('div', 'content', '', head, quote, text, reactions, actions, seen);
  view.item = make('li', 'message', '', face, content);
  for (const emoji of QUICK) {
    actions.append(button(emoji, `React with ${emoji} to ${who}`, () => react(message.id, emoji)));
  }
  actions.append(button('+', `Another reaction to ${who}`, () => pick(message.id)));
  actions.append(button('Reply', `Reply to ${who}`, () => reply(message.id)));
  if (isMe(message.sender.id)) {
    actions.append(button('Edit', '', () => edit(message.id)));
    actions.append(button('Delete', '', () => remove(message.id)));
  }
  return view;
}

// Where there is no pointer to hover with, the actions are behind a button.
function toggle(view) {
  const shown = view.item.classList.toggle('open');
  for (const other of messages.values()) {
    if (other.view !== view) other.view.item.classList.remove('open');
  }
  if (shown) view.actions.firstChild.focus();
}

function fill({ message, view }) {
  view.item.classList.toggle('gone', Boolean(message.is_deleted));
  view.text.textContent = message.is_deleted ? 'Message deleted' : message.content;
  if (message.is_edited && !message.is_deleted) view.text.append(make('span', 'edited', '(edited)'));
  view.actions.hidden = Boolean(message.is_deleted);
  fillQuote(message, view);
  fillReactions(message, view);
  fillSeen(message, view);
}

function excerpt(message) {
  const text = message.is_deleted ? 'Message deleted' : message.content;
  return `${nameOf(message.sender.id)}: ${[...text].slice(0, 120).join('')}`;
}

function fillQuote(message, view) {
  const parent = messages.get(message.parent_message_id);
  view.quote.textContent = parent ? `↪ ${excerpt(parent.message)}` : '↪ an earlier message';
}

function fillReactions(message, view) {
  const focused = view.reactions.contains(document.activeElement) && document.activeElement.dataset.emoji;
  view.reactions.replaceChildren();
  if (message.is_deleted) return;
  for (const [emoji, ids] of message.reactions) {
    const who = listed([...ids].map(nameOf));
    const chip = button(`${emoji} ${ids.size}`, `${emoji} by ${who}`, () => react(message.id, emoji));
    chip.dataset.emoji = emoji;
    chip.title = who;
    chip.setAttribute('aria-pressed', String(ids.has(String(me.id))));
    view.reactions.append(chip);
    if (focused === emoji) chip.focus();
  }
}

function fillSeen(message, view) {
  const others = [...marks].filter(([user, id]) =>
    id === message.id && !isMe(user) && user !== String(message.sender.id));
  view.seen.textContent = others.length ? `Seen by ${listed(others.map(([user]) => nameOf(user)))}` : '';
}

// A message may come again, when a server replays the last ones on connect.
function put(raw) {
  if (!raw || raw.id == null || !raw.sender) return;
  learnSender(raw.sender);
  const reactions = new Map(Object.entries(raw.reactions || {})
    .map(([emoji, ids]) => [emoji, new Set(ids.map(String))]));
  const message = { ...raw, reactions };
  const known = messages.get(raw.id);
  if (known) {
    known.message = { ...known.message, ...message };
    fill(known);
  } else {
    insert(message);
  }
  for (const user of raw.read_by || []) mark(user, raw.id);
}

function insert(message) {
  const follow = isAtEnd();
  const entry = { message, view: build(message) };
  const last = [...messages.values()].at(-1);
  messages.set(message.id, entry);
  fill(entry);
  const list = byId('messages');
  entry.view.item.classList.toggle('follow', continues(last, message, list));
  list.append(entry.view.item);
  if (messages.size > MESSAGES_MAX) forgetOldest();
  byId('empty').hidden = true;
  if (follow || isMe(message.sender.id)) toEnd();
  else byId('newest').hidden = false;
}

function continues(last, message, list) {
  return Boolean(last) && list.lastElementChild === last.view.item
    && message.parent_message_id == null
    && String(last.message.sender.id) === String(message.sender.id)
    && new Date(message.created_at) - new Date(last.message.created_at) < 300000;
}

function forgetOldest() {
  const [id, oldest] = messages.entries().next().value;
  messages.delete(id);
  oldest.view.item.remove();
}

function change(id, apply) {
  const entry = messages.get(id);
  if (!entry) return;
  const follow = isAtEnd();
  apply(entry.message);
  if (entry.message.is_deleted) endEdit(entry);
  fill(entry);
  for (const other of messages.values()) {
    if (other.message.parent_message_id === id) fillQuote(other.message, other.view);
  }
  if (follow) toEnd();
}

function show(id) {
  const entry = messages.get(id);
  if (!entry) return toast('That message is not on this page.');
  const item = entry.view.item;
  item.scrollIntoView({ block: 'center' });
  item.classList.add('flash');
  setTimeout(() => item.classList.remove('flash'), 1500);
}

function note(text) {
  const last = byId('messages').lastElementChild;
  if (last && last.className === 'note') last.remove();
  const follow = isAtEnd();
  byId('messages').append(make('li', 'note', text));
  if (follow) toEnd();
}

// what arrives

const arrivals = {
  chat_message({ message }) {
    put(message);
    if (!message || !message.sender) return;
    stopTyping(message.sender.id);
    markRead();
  },
  message_edit({ message_id, content, edited_at }) {
    change(message_id, (message) => Object.assign(message, { content, edited_at, is_edited: true }));
  },
  message_delete({ message_id }) {
    if (replyTo === message_id) reply(null);
    change(message_id, (message) => { message.is_deleted = true; });
  },
  message_reaction({ message_id, emoji, user_id, action }) {
    change(message_id, ({ reactions }) => {
      const ids = reactions.get(emoji) || new Set();
      if (action === 'added') ids.add(String(user_id));
      else ids.delete(String(user_id));
      if (ids.size) reactions.set(emoji, ids);
      else reactions.delete(emoji);
    });
  },
  read_receipt({ message_id, user_id }) {
    mark(user_id, message_id);
  },
  typing_indicator({ user_id, user_name, is_typing }) {
    if (isMe(user_id)) return;
    if (user_name) names.set(String(user_id), user_name);
    stopTyping(user_id);
    if (is_typing) typing.set(String(user_id), setTimeout(() => stopTyping(user_id), TYPING_SHOWN_MS));
    showTyping();
  },
  user_status({ user_id, status }) {
    if (status === 'online') {
      online.add(String(user_id));
    } else {
      online.delete(String(user_id));
      stopTyping(user_id);
    }
    showOnline();
  },
  error({ error, code, ref, retry_after_ms }) {
    const wait = retry_after_ms ? ` Try again in ${Math.ceil(retry_after_ms / 1000)} s.` : '';
    toast(`${error || code || 'The server refused this.'}${wait}`);
    const text = pending.get(ref);
    pending.delete(ref);
    if (text && !field.value) setText(text);
  },
};

function receive(data) {
  let frame;
  try {
    frame = JSON.parse(data);
  } catch {
    return toast('The server sent something that is not JSON.');
  }
  if (frame && Object.hasOwn(arrivals, frame.type)) arrivals[frame.type](frame);
}

function mark(user, id) {
  const before = marks.get(String(user));
  if (before >= id) return;
  marks.set(String(user), id);
  for (const touched of [before, id]) {
    const entry = messages.get(touched);
    if (entry) fillSeen(entry.message, entry.view);
  }
}

function stopTyping(user) {
  clearTimeout(typing.get(String(user)));
  if (typing.delete(String(user))) showTyping();
}

function showTyping() {
  const who = [...typing.keys()].map(nameOf);
  const verb = who.length === 1 ? 'is' : 'are';
  byId('typing').textContent = !who.length ? ''
    : who.length > 3 ? 'Several people are typing…' : `${listed(who)} ${verb} typing…`;
}

function showOnline() {
  const sorted = [...online].sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  byId('online').replaceChildren(...sorted.map((user) => {
    const dot = make('span', 'dot');
    return make('li', '', '', dot, make('span', '', nameOf(user) + (isMe(user) ? ' (you)' : '')));
  }));
}

// what is sent

const isOpen = () => socket !== null && socket.readyState === WebSocket.OPEN;

function send(frame) {
  if (!isOpen()) {
    toast('Not connected: nothing was sent.');
    return false;
  }
  socket.send(JSON.stringify(frame));
  return true;
}

const field = byId('text');

function setText(text) {
  field.value = text;
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight + 2}px`;
}

function submit() {
  const content = field.value.trim();
  if (!content) return;
  const client_msg_id = crypto.randomUUID();
  if (!send({ type: 'chat_message', content, parent_message_id: replyTo, client_msg_id })) return;
  if (pending.size > 50) pending.clear();
  pending.set(client_msg_id, content);
  clearTimeout(typingIdle);
  typingSentAt = 0;
  setText('');
  reply(null);
}

// `true` at most once a second while keys are pressed, `false` when they stop.
function typed() {
  if (!isOpen()) return;
  clearTimeout(typingIdle);
  if (!field.value.trim()) return stopped();
  if (Date.now() - typingSentAt >= 1000) {
    typingSentAt = Date.now();
    send({ type: 'typing_indicator', is_typing: true });
  }
  typingIdle = setTimeout(stopped, 2500);
}

function stopped() {
  clearTimeout(typingIdle);
  if (typingSentAt && isOpen()) send({ type: 'typing_indicator', is_typing: false });
  typingSentAt = 0;
}

// One receipt for the newest message of somebody else: it stands for all before it.
function markRead() {
  if (document.hidden || !isAtEnd() || !isOpen()) return;
  let newest = 0;
  for (const { message } of messages.values()) {
    if (!isMe(message.sender.id) && message.id > newest) newest = message.id;
  }
  if (newest <= readThrough) return;
  readThrough = newest;
  send({ type: 'read_receipt', message_id: newest });
}

function react(id, emoji) {
  send({ type: 'message_reaction', message_id: id, emoji });
}

function pick(id) {
  picking = id;
  byId('emoji').value = '';
  byId('picker').showModal();
}

function picked(emoji) {
  byId('picker').close();
  if (!emoji) return;
  if (new TextEncoder().encode(emoji).length > 64) return toast('A reaction has at most 64 bytes.');
  react(picking, emoji);
}

function reply(id) {
  replyTo = id;
  const entry = messages.get(id);
  byId('replying').hidden = !entry;
  if (!entry) return;
  byId('replying-to').textContent = `Replying to ${excerpt(entry.message)}`;
  field.focus();
}

function remove(id) {
  if (confirm('Delete this message for everybody?')) send({ type: 'message_delete', message_id: id });
}

function edit(id) {
  const entry = messages.get(id);
  if (!entry || entry.view.edit) return;
  const box = make('textarea');
  box.value = entry.message.content;
  box.maxLength = 10000;
  box.rows = Math.min(10, box.value.split('\n').length + 1);
  box.setAttribute('aria-label', 'New text of the message');
  const save = () => {
    const content = box.value.trim();
    if (!content) return toast('A message is not empty: delete it instead.');
    if (content === entry.message.content || send({ type: 'message_edit', message_id: id, content })) endEdit(entry);
  };
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') endEdit(entry);
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      save();
    }
  });
  const form = make('div', 'edit', '', box, button('Save', '', save), button('Cancel', '', () => endEdit(entry)));
  entry.view.edit = form;
  entry.view.text.hidden = true;
  entry.view.text.after(form);
  box.focus();
}

function endEdit({ view }) {
  if (!view.edit) return;
  view.edit.remove();
  view.edit = null;
  view.text.hidden = false;
  field.focus();
}
