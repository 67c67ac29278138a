// A slow network: a relay that lets so many bytes a second through, each a while after it came. What the
// browser's own developer tools slow down does not include WebSockets.

import { connect, createServer } from 'node:net';

const STEP_MS = 20;

function relay(from, to, { bytes_s, latency_ms }) {
  const queue = [];
  const most = Math.max(1, Math.floor((bytes_s * STEP_MS) / 1_000));
  const step = setInterval(() => {
    let left = most;
    while (queue.length > 0 && left > 0 && queue[0].at <= Date.now()) {
      const head = queue[0];
      const piece = head.bytes.subarray(0, left);
      left -= piece.length;
      head.bytes = head.bytes.subarray(piece.length);
      if (head.bytes.length === 0) queue.shift();
      if (!to.destroyed) to.write(piece);
    }
    if (queue.length > 100) from.pause();
    else from.resume();
    if (queue.length === 0 && from.readableEnded) to.end();
    if (to.destroyed) clearInterval(step);
  }, STEP_MS);
  from.on('data', (bytes) => queue.push({ bytes, at: Date.now() + latency_ms }));
  from.on('error', () => to.destroy());
  from.on('close', () => {
    if (!from.readableEnded) to.destroy();
  });
}

/** Where it listens, and how to end it. */
export async function slowly(port, pace) {
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    }
    relay(near, far, pace);
    relay(far, near, pace);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    end: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
