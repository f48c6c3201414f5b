// A small, safe part of Markdown: paragraphs, headings, lists, tables, code, bold, italic. Everything becomes text nodes in
// elements made here, so no text can turn into markup, and pictures or pages elsewhere are never loaded.
(() => {
  const { el } = ixc;

  ixc.renderMarkdown = (text) => {
    const root = document.createDocumentFragment();
    const lines = text.replace(/\r\n?/g, "\n").split("\n");
    let at = 0;
    while (at < lines.length) {
      const block = fence() || heading() || table() || list() || paragraph();
      if (block) root.append(block);
    }
    return root;

    function fence() {
      const open = lines[at].match(/^\s*(`{3,}|~{3,})\s*([\w+-]*)/);
      if (!open) return null;
      const body = [];
      at += 1;
      while (at < lines.length && !lines[at].trim().startsWith(open[1])) body.push(lines[at++]);
      at += 1;
      return el("pre", {}, el("code", { text: body.join("\n") }));
    }

    function heading() {
      const match = lines[at].match(/^(#{1,6})\s+(.*?)\s*#*$/);
      if (!match) return null;
      at += 1;
      return inline(el("p", { class: "ixc-md-heading" }), match[2]);
    }

    function cells(line) {
      return line.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
    }

    function table() {
      if (!lines[at].includes("|") || !/^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[at + 1] ?? "")) return null;
      const head = cells(lines[at]);
      at += 2;
      const body = el("tbody");
      while (at < lines.length && lines[at].includes("|")) {
        const row = cells(lines[at++]);
        body.append(el("tr", {}, ...head.map((_, column) => inline(el("td"), row[column] ?? "")))); // as many as have a heading
      }
      const header = el("thead", {}, el("tr", {}, ...head.map((cell) => inline(el("th", { scope: "col" }), cell))));
      return el("div", { class: "ixc-md-table", tabindex: "0" }, el("table", {}, header, body));
    }

    function list() {
      const item = /^\s*(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/;
      const first = lines[at].match(item);
      if (!first) return null;
      const node = first[1] ? el("ul") : el("ol", { start: first[2] });
      let match;
      while (at < lines.length && (match = lines[at].match(item)) && Boolean(match[1]) === Boolean(first[1])) {
        node.append(inline(el("li"), match[3]));
        at += 1;
      }
      return node;
    }

    function paragraph() {
      if (!lines[at].trim()) { at += 1; return null; }
      const body = [];
      const starts = /^\s*(`{3,}|~{3,}|#{1,6}\s|[-*+]\s|\d{1,9}[.)]\s)/;
      do body.push(lines[at++]); while (at < lines.length && lines[at].trim() && !starts.test(lines[at]));
      return inline(el("p"), body.join("\n"));
    }
  };

  function inline(parent, text) {
    const pattern = /(`+)([^`]+?)\1|\*\*(?=\S)([^*]+?)\*\*|(?<![\w*])\*(?=\S)([^*\n]+?)\*(?![\w*])/g;
    let last = 0;
    for (const match of text.matchAll(pattern)) {
      plain(parent, text.slice(last, match.index));
      if (match[2] != null) parent.append(el("code", { text: match[2] }));
      else parent.append(inline(el(match[3] != null ? "strong" : "em"), match[3] ?? match[4]));
      last = match.index + match[0].length;
    }
    plain(parent, text.slice(last));
    return parent;
  }

  function plain(parent, text) {
    text.split("\n").forEach((line, index) => {
      if (index) parent.append(el("br"));
      if (line) parent.append(line);
    });
  }
})();
