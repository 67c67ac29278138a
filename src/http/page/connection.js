// The page's connection: when it comes back, when not, and how the page starts. Follows page.js in
// the same script.

function status(state, text) {
  byId('connection').dataset.state = state;
  byId('status').textContent = text;
  byId('retry').hidden = state === 'open' || text === 'Connecting…';
  byId('send').disabled = state !== 'open';
}

const jittered = (ms) => ms * (0.5 + Math.random() / 2);

// After which close to come back, and when; `null` is never.
function waitAfter(code, reason) {
  if (code >= 4000 && code < 4100) return null;
  const told = code === 1012 && /^reconnect_in_ms=(\d{1,7})$/.exec(reason);
  if (told) return Number(told[1]);
  if (code >= 4200 && code < 4300 && attempt === 0) return jittered(250);
  const [first, most] = code >= 4100 && code < 4200 ? [5000, 60000] : [500, 30000];
  return jittered(Math.min(most, first * 2 ** Math.min(attempt, 10)));
}

function connect() {
  clearTimeout(retryTimer);
  clearInterval(countdownTimer);
  drop();
  status('waiting', 'Connecting…');
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const path = `/ws/chat/${encodeURIComponent(conversation)}/?token=${encodeURIComponent(me.token)}`;
  const opened = new WebSocket(`${scheme}://${location.host}${path}`);
  socket = opened;
  // A socket that was replaced still ends some time; only the current one is listened to.
  const current = (handle) => (event) => { if (socket === opened) handle(event); };
  opened.onopen = current(() => {
    status('open', 'Connected');
    online.clear();
    showOnline();
    readThrough = 0;
    if (wasOpen) note(`Connected again at ${clock(new Date())}; what was said meanwhile may be missing here.`);
    wasOpen = true;
    settledTimer = setTimeout(() => { attempt = 0; }, 5000);
    markRead();
  });
  opened.onmessage = current((event) => receive(event.data));
  opened.onclose = current((event) => closed(event.code, event.reason));
}

// Lets go of the current socket without listening to its end.
function drop() {
  clearTimeout(settledTimer);
  const old = socket;
  socket = null;
  if (old) old.close(1000);
}

function closed(code, reason) {
  socket = null;
  clearTimeout(settledTimer);
  online.clear();
  showOnline();
  [...typing.keys()].forEach(stopTyping);
  typingSentAt = 0;
  const wait = waitAfter(code, reason);
  attempt += 1;
  if (wait === null) {
    const why = Object.hasOwn(CLOSED, reason) ? CLOSED[reason] : `The server closed this (${code}).`;
    return status('closed', why);
  }
  const due = Date.now() + wait;
  const tell = () => {
    const seconds = Math.ceil((due - Date.now()) / 1000);
    status('waiting', seconds > 1 ? `Disconnected, next try in ${seconds} s` : 'Disconnected, trying again');
  };
  tell();
  countdownTimer = setInterval(tell, 1000);
  retryTimer = setTimeout(connect, wait);
}

function again() {
  attempt = 0;
  connect();
}

// Another user or conversation: nothing of the last one stays.
function open() {
  const chosen = users.find((user) => String(user.id) === byId('user').value);
  me = chosen || users[0];
  conversation = byId('conversation').value.trim();
  drop();
  messages.clear();
  marks.clear();
  pending.clear();
  [...typing.keys()].forEach(stopTyping);
  byId('messages').replaceChildren();
  byId('empty').hidden = false;
  byId('newest').hidden = true;
  reply(null);
  wasOpen = false;
  history.replaceState(null, '', `#${new URLSearchParams({ user: me.id, conversation })}`);
  document.title = `${me.name} in ${conversation} · loquat demo`;
  again();
}

// start

function start() {
  byId('user').append(...users.map((user) => {
    const option = make('option', '', user.name);
    option.value = user.id;
    return option;
  }));
  byId('choices').append(...MORE.map((emoji) => button(emoji, '', () => picked(emoji))));
  const asked = new URLSearchParams(location.hash.slice(1));
  if (users.some((user) => String(user.id) === asked.get('user'))) byId('user').value = asked.get('user');
  if (/^[A-Za-z0-9_-]{1,64}$/.test(asked.get('conversation') || '')) {
    byId('conversation').value = asked.get('conversation');
  }
  const on = (id, event, handle) => byId(id).addEventListener(event, handle);
  const form = (handle) => (event) => { event.preventDefault(); handle(); };
  on('settings', 'submit', form(open));
  on('user', 'change', () => { if (byId('conversation').reportValidity()) open(); });
  on('composer', 'submit', form(submit));
  on('picker-form', 'submit', form(() => picked(byId('emoji').value.trim())));
  on('picker-cancel', 'click', () => byId('picker').close());
  on('reply-cancel', 'click', () => { reply(null); field.focus(); });
  on('retry', 'click', again);
  on('newest', 'click', () => { toEnd(); markRead(); });
  on('text', 'input', () => { setText(field.value); typed(); });
  on('text', 'keydown', keyed);
  scroll.addEventListener('scroll', () => { if (isAtEnd()) { byId('newest').hidden = true; markRead(); } });
  document.addEventListener('visibilitychange', markRead);
  addEventListener('online', () => { if (!socket && byId('connection').dataset.state === 'waiting') again(); });
  open();
}

function keyed(event) {
  if (event.isComposing) return;
  if (event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    submit();
  } else if (event.key === 'Escape') {
    reply(null);
  } else if (event.key === 'ArrowUp' && !field.value) {
    const own = [...messages.values()].filter(({ message }) => isMe(message.sender.id) && !message.is_deleted);
    if (own.length) {
      event.preventDefault();
      edit(own.at(-1).message.id);
    }
  }
}

start();
