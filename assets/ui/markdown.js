// A small, safe part of Markdown: paragraphs, headings, lists, quotations, tables, code, bold, italic. Everything becomes text
// nodes in elements made here, so no text can turn into markup, and pictures or pages elsewhere are never loaded.
(() => {
  const { el } = ixc;
  const MAX_DEPTH = 8; // of lists and quotations in each other; what is deeper is flattened
  const ITEM = /^(\s*)(?:([-*+])|(\d{1,9})[.)])(?:\s+(.*))?$/; // indentation, bullet or number, words
  const QUOTED = /^\s{0,3}>(?!=|\s*[-+$€£¥]?\s*[\d.,]+\s*%?\s*$) ?/; // "> 100" alone is an amount
  const STARTS = /^\s*(`{3,}(?!.*`)|~{3,}|#{1,6}\s|[-*+]\s|\d{1,9}[.)]\s)/;
  const isStart = (line) => STARTS.test(line) || QUOTED.test(line);
  const isBlank = (line) => !line.trim();
  const widthOf = (line) => line.length - line.trimStart().length;
  const TABS_BEFORE_SIGN = /^[ \t]+(?=[-*+>]\s|\d{1,9}[.)]\s)/gm;

  ixc.renderMarkdown = (text) => blocks(text.replace(/\r\n?/g, "\n").replace(TABS_BEFORE_SIGN, (tabs) => tabs.replaceAll("\t", "    ")).split("\n"), 0);

  function blocks(lines, depth) {
    const root = document.createDocumentFragment();
    let at = 0;
    while (at < lines.length) {
      const block = fence() || heading() || table() || quotation() || list() || paragraph();
      if (block) root.append(block);
    }
    return root;

    function fence() {
      const open = lines[at].match(/^(\s*)(`{3,}(?!.*`)|~{3,})/); // with a backtick after them they are code in a line
      if (!open) return null;
      const body = [];
      at += 1;
      for (; at < lines.length && !lines[at].trim().startsWith(open[2]); at += 1) body.push(lines[at].slice(Math.min(open[1].length, widthOf(lines[at]))));
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

    // The further lines of a paragraph in it may stand without their sign.
    function quotation() {
      if (!QUOTED.test(lines[at])) return null;
      const body = [];
      let end = at;
      for (; end < lines.length && (QUOTED.test(lines[end]) || (!isBlank(lines[end]) && !isBlank(body.at(-1)) && !isStart(lines[end]))); end += 1) {
        body.push(lines[end].replace(QUOTED, ""));
      }
      if (body.every(isBlank)) return null;
      at = end;
      if (depth < MAX_DEPTH) return el("blockquote", {}, blocks(body, depth + 1));
      return inline(el("p"), body.map((line) => line.replace(/^[\s>]+/, "")).join("\n"));
    }

    function list() {
      const first = lines[at].match(ITEM);
      if (!first || first[4] == null) return null;
      const node = first[2] ? el("ul") : el("ol", { start: first[3] });
      let match = first;
      while (match && Boolean(match[2]) === Boolean(first[2]) && widthOf(match[0]) < widthOf(first[0]) + 2) {
        node.append(item(match));
        let next = at; // blank lines may stand between two
        while (next < lines.length && isBlank(lines[next])) next += 1;
        match = lines[next]?.match(ITEM);
        if (match) at = next;
      }
      return node;
    }

    // With what stands two spaces further in: more of its words, then lists, code and the like.
    function item([line, , , , first = ""]) {
      at += 1;
      let end = at;
      for (let next = at; next < lines.length && (isBlank(lines[next]) || widthOf(lines[next]) >= widthOf(line) + 2); next += 1) {
        if (!isBlank(lines[next])) end = next + 1;
      }
      const own = lines.slice(at, end);
      const inner = Math.min(...own.filter((each) => !isBlank(each)).map(widthOf));
      const body = own.map((each) => each.slice(inner));
      at = end;
      if (depth >= MAX_DEPTH) return inline(el("li"), [first, ...body].map((each) => each.trim()).filter(Boolean).join("\n"));
      if (QUOTED.test(first) || /^(`{3,}(?!.*`)|~{3,})/.test(first)) return el("li", {}, blocks([first, ...body], depth + 1));
      const words = [first];
      while (body.length && !isBlank(body[0]) && !isStart(body[0]) && !body[0].includes("|")) words.push(body.shift());
      return el("li", {}, ...inline(el("li"), words.join("\n")).childNodes, blocks(body, depth + 1));
    }

    function paragraph() {
      if (isBlank(lines[at])) { at += 1; return null; }
      const body = [];
      do body.push(lines[at++]); while (at < lines.length && !isBlank(lines[at]) && !isStart(lines[at]));
      return inline(el("p"), body.join("\n"));
    }
  }

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
