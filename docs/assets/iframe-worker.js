// Browsers start no worker for a page that is opened as a file. The search then runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const base = new URL(url, location);
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.append(frame);
      const inside = frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const load = (source) =>
        new Promise((resolve, reject) => {
          const script = inside.document.createElement("script");
          script.src = new URL(source, base);
          script.onload = resolve;
          script.onerror = reject;
          inside.document.body.append(script);
        });
      inside.importScripts = (...sources) => Promise.all(sources.map(load));
      this.send = (data) => inside.dispatchEvent(new inside.MessageEvent("message", { data }));
      load(base).then(() => {
        this.waiting.forEach(this.send);
        this.waiting = null;
      });
    }
    postMessage(data) {
      this.waiting ? this.waiting.push(data) : this.send(data);
    }
    terminate() {}
  };
}
