// Gradio's client (6.31) expects an answer on the event stream that is open when the question is accepted. The server closes a
// stream whose answers are all out. Where it has just done so, and the page reads of the acceptance before it reads of the end,
// the client opens no other stream, and nobody hears the answer. So an acceptance is handed on once the stream has named its
// event (then it goes on) or the client has closed it (then it opens another).
(() => {
  const NAMED = /"event_id": ?"(\w+)"/g;
  const MAX_NAMED_CHARS = 80; // of one such word, which may lie across two pieces of the stream
  const sendRequest = window.fetch;
  let stream = null; // the one that the client holds open: events it has named, and questions that wait to be

  function read(from, text) {
    for (const [, event] of (from.tail + text).matchAll(NAMED)) {
      from.named.add(event);
      from.waiting.get(event)?.();
    }
    from.tail = (from.tail + text).slice(-MAX_NAMED_CHARS);
  }

  async function listen(input, init) {
    const opened = { named: new Set(), waiting: new Map(), tail: "" };
    const close = () => {
      if (stream === opened) stream = null;
      for (const goOn of opened.waiting.values()) goOn();
    };
    stream = opened;
    (input.signal ?? init?.signal)?.addEventListener("abort", close); // how the client closes it, having read that no more comes
    const response = await sendRequest(input, init).catch((error) => { close(); throw error; });
    if (!response.ok || !response.body) { close(); return response; }
    const decoder = new TextDecoder();
    const body = response.body.pipeThrough(new TransformStream({
      transform(bytes, out) { read(opened, decoder.decode(bytes, { stream: true })); out.enqueue(bytes); },
    }));
    return new Response(body, { status: response.status, statusText: response.statusText, headers: response.headers });
  }

  async function join(input, init) {
    const response = await sendRequest(input, init);
    const { event_id: event } = response.ok ? await response.clone().json() : {};
    const { named, waiting } = stream ?? {};
    if (event && stream && !named.has(event)) await new Promise((goOn) => { waiting.set(event, goOn); });
    return response;
  }

  window.fetch = (input, init) => {
    const path = new URL(input.url ?? input, location.href).pathname;
    if (path.endsWith("/queue/data")) return listen(input, init);
    if (path.endsWith("/queue/join")) return join(input, init);
    return sendRequest(input, init);
  };
})();
