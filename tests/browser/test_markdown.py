"""What a model writes as Markdown is shown as such, and never becomes markup of the page."""

from __future__ import annotations


def test_words_never_become_markup(visit):
    user = visit()
    user.limit_answer(3)
    evil = '<img src=x onerror="window.hacked=1"> <b>bold</b> ![p](http://example.com/p.png) {{value}} ${1+1}'
    user.ask(evil)
    user.wait_for_answer(1)
    assert evil in user.page.locator(".ixc-question").inner_text()
    # What a model could say goes through the same function as every answer.
    answer = "\n".join(
        [
            "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>",
            "![picture](http://example.com/p.png) [link](javascript:window.hacked=1)",
            "| <svg onload=window.hacked=1> | b |",
            "|---|---|",
            "| `<iframe src=http://example.com>` | **<b onclick=1>** |",
            "```html\n<script>window.hacked=1</script>\n```",
            "- <style>body{display:none}</style>",
        ]
    )
    drawn = user.page.evaluate(
        "text => { const box = document.createElement('div'); box.append(ixc.renderMarkdown(text)); document.body.append(box); "
        "return [...box.querySelectorAll('*')].map(node => node.tagName.toLowerCase()); }",
        answer,
    )
    assert set(drawn) <= {
        "p",
        "br",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "code",
        "pre",
        "strong",
        "em",
        "ul",
        "li",
    }
    assert user.page.evaluate("window.hacked") is None
    assert user.page.locator("#ixc-page").is_visible()


def test_code_in_a_line_that_begins_with_three_backticks_opens_no_block(visit):
    user = visit()
    html = user.page.evaluate(
        "text => { const box = document.createElement('div'); box.append(ixc.renderMarkdown(text)); return box.innerHTML; }",
        "Use this:\n```print(1)```\nDone, **really**.\n\n- ```a b```",
    )
    assert html == (
        "<p>Use this:<br><code>print(1)</code><br>Done, <strong>really</strong>.</p><ul><li><code>a b</code></li></ul>"
    )


def test_markdown_shows_lists_tables_and_code(visit):
    user = visit()
    html = user.page.evaluate(
        "text => { const box = document.createElement('div'); box.append(ixc.renderMarkdown(text)); return box.innerHTML; }",
        "Total **12** of *20*, `x*y*z`:\n\n1. one\n2. two\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```py\na < b\n```\n2 * 3 * 4",
    )
    assert "<strong>12</strong> of <em>20</em>, <code>x*y*z</code>" in html
    assert '<ol start="1"><li>one</li><li>two</li></ol>' in html
    assert "<td>1</td><td>2</td>" in html
    assert "<pre><code>a &lt; b</code></pre>" in html
    assert "<p>2 * 3 * 4</p>" in html


DRAWN = """text => {
  const box = document.createElement('div');
  box.append(ixc.renderMarkdown(text));
  return box.innerHTML;
}"""


def test_markdown_shows_lists_in_lists(visit):
    user = visit()
    text = "1. one\n   - a\n     more\n     - deep\n   - b\n\n2. two\n   ```py\n   x\n     y\n   ```\n\nend"
    assert user.page.evaluate(DRAWN, text) == (
        '<ol start="1"><li>one<ul><li>a<br>more<ul><li>deep</li></ul></li><li>b</li></ul></li>'
        "<li>two<pre><code>x\n  y</code></pre></li></ol><p>end</p>"
    )
    deep = "\n".join(f"{'  ' * level}- <b>{level}</b>" for level in range(300))
    html = user.page.evaluate(DRAWN, deep)
    assert html.count("<ul>") < 20
    assert "&lt;b&gt;299&lt;/b&gt;" in html


def test_markdown_shows_quotations(visit):
    user = visit()
    text = "It says:\n> **Closed** <b>\nuntil May\n>\n> - x\n>   > y\n\nend"
    assert user.page.evaluate(DRAWN, text) == (
        "<p>It says:</p><blockquote><p><strong>Closed</strong> &lt;b&gt;<br>until May</p>"
        "<ul><li>x<blockquote><p>y</p></blockquote></li></ul></blockquote><p>end</p>"
    )
    for amount in ("> 100", ">= 5", "> $1,000", ">", "-"):  # an answer, and no sign of anything
        assert user.page.evaluate(DRAWN, amount) == f"<p>{amount.replace('>', '&gt;')}</p>"


def test_markdown_that_is_still_being_written_never_fails_and_loses_no_word(visit):
    user = visit()
    text = "1. one\n   - two\n\n> three\n> - four\n>   ```\n>   five\n>   ```\nsix"
    lost = user.page.evaluate(
        """text => [...text].map((_, end) => text.slice(0, end + 1)).filter((part) => {
          const box = document.createElement('div');
          box.append(ixc.renderMarkdown(part));
          const words = (shown) => (shown.match(/[a-z]+/g) ?? []).join(' ');
          const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
          const texts = [];
          while (walker.nextNode()) texts.push(walker.currentNode.data);
          return words(texts.join(' ')) !== words(part);
        })""",
        text,
    )
    assert lost == []
    assert "six" in user.page.evaluate(DRAWN, text)


def test_a_table_keeps_its_columns_and_arabic_runs_from_the_right(visit):
    user = visit()
    lines = ["| Name | Amount |", "|---|---|", "| Kaffee \\| Tee | 12.50 | more |", "| Brot |"]
    html = user.page.evaluate(
        """text => {
          const box = document.createElement('div');
          box.className = 'ixc-answer';
          box.append(ixc.renderMarkdown(text));
          document.querySelector('#ixc-page').append(box);
          return box.innerHTML;
        }""",
        "\n".join([*lines, "", "السعر هو 12.50.", "", "The price."]),
    )
    assert "<tr><td>Kaffee | Tee</td><td>12.50</td></tr><tr><td>Brot</td><td></td></tr>" in html
    starts = user.page.evaluate(
        """() => [...document.querySelectorAll('.ixc-answer > p')].slice(-2).map((p) => {
          const range = document.createRange();
          range.setStart(p.firstChild, 0);
          range.setEnd(p.firstChild, 1);
          const [letter, box] = [range.getBoundingClientRect(), p.getBoundingClientRect()];
          return Math.abs(letter.right - box.right) < Math.abs(letter.left - box.left) ? 'right' : 'left';
        })"""
    )
    assert starts == ["right", "left"]
