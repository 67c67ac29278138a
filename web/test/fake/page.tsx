// What jsdom lacks, and a room in it whose server is the fake one. Time is virtual for the server and
// the client; React is told when it passes.

import { act, cleanup, render } from '@testing-library/react';
import axe from 'axe-core';
import type { ReactNode } from 'react';
import { afterEach, expect } from 'vitest';
import { ChatProvider } from '../../react/index';
import { Clock } from './clock';
import { FakeServer } from './server';

const [ROW_PX, VIEW_PX] = [40, 600];

/** Layout as far as a virtual list asks for it: every row is as high as the others. */
class Observer implements ResizeObserver {
  readonly #tell: ResizeObserverCallback;
  #isOn = true;

  constructor(tell: ResizeObserverCallback) {
    this.#tell = tell;
  }

  observe(target: Element): void {
    const height = target.tagName === 'LI' ? ROW_PX : VIEW_PX;
    const contentRect = { height, width: 400 } as DOMRectReadOnly;
    const told = [{ target, contentRect } as ResizeObserverEntry];
    queueMicrotask(() => this.#isOn && act(() => this.#tell(told, this)));
  }

  unobserve(): void {}

  disconnect(): void {
    this.#isOn = false;
  }
}

globalThis.ResizeObserver = Observer;
Object.defineProperty(HTMLElement.prototype, 'offsetParent', {
  get(this: HTMLElement) {
    return this.parentElement;
  },
});
HTMLCanvasElement.prototype.getContext = () => null;
HTMLDialogElement.prototype.showModal = function showModal() {
  this.open = true;
};
Element.prototype.scrollTo = function scrollTo(this: Element, to?: ScrollToOptions | number, y?: number) {
  this.scrollTop = (typeof to === 'number' ? y : to?.top) ?? 0;
} as typeof Element.prototype.scrollTo;
Element.prototype.scrollBy = function scrollBy(this: Element, by?: ScrollToOptions | number, y?: number) {
  this.scrollTop += (typeof by === 'number' ? y : by?.top) ?? 0;
} as typeof Element.prototype.scrollBy;

afterEach(cleanup);

export interface Opened {
  readonly server: FakeServer;
  pass(ms: number): Promise<void>;
  readonly container: HTMLElement;
}

export function open(children: ReactNode, prepare: (server: FakeServer) => void = () => {}): Opened {
  const server = new FakeServer(new Clock());
  prepare(server);
  const { container } = render(
    <ChatProvider url="http://chat.test" token="one" environment={server.environment()}>
      {children}
    </ChatProvider>,
  );
  const pass = (ms: number) => act(() => server.clock.advance(ms));
  return { server, pass, container };
}

/** Contrast needs a real browser. */
export async function isAccessible(container: HTMLElement): Promise<void> {
  const { violations } = await axe.run(container, { rules: { 'color-contrast': { enabled: false } } });
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)).toEqual([]);
}
