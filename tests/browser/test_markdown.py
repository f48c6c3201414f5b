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
