"""What each example is called, what to ask about it, and how it is drawn and stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from ixc.training.examples.boarding_pass import draw_boarding_pass
from ixc.training.examples.chart import draw_chart
from ixc.training.examples.delivery import draw_delivery
from ixc.training.examples.infographic import draw_infographic
from ixc.training.examples.menu import draw_menu
from ixc.training.examples.paper import draw_paper
from ixc.training.examples.poster import draw_poster
from ixc.training.examples.receipt import draw_receipt
from ixc.training.examples.signs import draw_label, draw_sign
from ixc.training.examples.spreadsheet import draw_spreadsheet

MANIFEST = "examples.json"
SAVE_OPTIONS = {
    ".png": {"optimize": True},
    ".jpg": {"quality": 88, "optimize": True},
    ".webp": {"quality": 90, "method": 6},
}


@dataclass(frozen=True, slots=True)
class Example:
    """One example image: its place in the manifest."""

    file: str
    title_en: str
    title_zh: str
    question_en: str
    question_zh: str
    max_patches: int
    """A budget at which the question can be answered from the picture."""
    alt_en: str
    alt_zh: str
    for_small: bool = False
    """Whether the small models that come along read it, at this budget."""


# First those for the small models.
EXAMPLES: tuple[tuple[Example, Callable[[], Image.Image]], ...] = (
    (
        Example(
            "sign.png",
            "Platform sign",
            "站台牌",
            "What does the sign say?",
            "图片上写了什么？",
            3,
            "A blue enamel sign with white letters: PLATFORM 7.",
            "蓝底白字的搪瓷牌：PLATFORM 7。",
            for_small=True,
        ),
        draw_sign,
    ),
    (
        Example(
            "label.png",
            "Shop label",
            "商店标签",
            "What does the label say?",
            "请读出文字。",
            3,
            "A cream paper label with a punched hole and the words Fresh bread.",
            "一张打孔的米色纸标签，上面写着 Fresh bread。",
            for_small=True,
        ),
        draw_label,
    ),
    (
        Example(
            "delivery.png",
            "Delivery note",
            "送货单",
            "What is the date?",
            "日期是哪天？",
            25,
            "A delivery note in small print on a large white page: order number, date, customer, city, weight and total.",
            "一张大白页上的小字送货单：订单号、日期、客户、城市、重量和总额。",
            for_small=True,
        ),
        draw_delivery,
    ),
    (
        Example(
            "menu.png",
            "Menu",
            "菜单",
            "What is the price of Soup?",
            "汤多少钱？",
            9,
            "A cafe's menu of seven dishes, each with its price in dollars.",
            "一张咖啡馆菜单，七样餐点及其美元价格。",
            for_small=True,
        ),
        draw_menu,
    ),
    (
        Example(
            "boarding_pass.png",
            "Boarding pass",
            "登机牌",
            "What is the destination?",
            "目的地是哪里？",
            16,
            "A boarding pass under a blue band: name, from, to, date, gate and seat.",
            "蓝色抬头的登机牌：姓名、出发地、目的地、日期、登机口和座位。",
            for_small=True,
        ),
        draw_boarding_pass,
    ),
    (
        Example(
            "receipt.jpg",
            "Receipt",
            "购物小票",
            "What is the total, and how much change was given?",
            "总额是多少？找零多少？",
            32,
            "A photograph of a grocer's receipt with thirteen articles on a wooden table.",
            "木桌上一张杂货店小票的照片，列有十三种商品。",
        ),
        draw_receipt,
    ),
    (
        Example(
            "poster.webp",
            "4K poster",
            "4K 海报",
            "When does the last ferry to Gull Island leave on Saturday?",
            "周六去 Gull Island 的末班渡轮几点开？",
            55,
            "A festival poster: a lighthouse and boats at sunset, three days of programme, a ferry table and small print.",
            "节日海报：夕阳下的灯塔与帆船、三天的节目单、渡轮时刻表和小字说明。",
        ),
        draw_poster,
    ),
    (
        Example(
            "infographic.webp",
            "Tall infographic",
            "长图",
            "How many tonnes of fish were landed, and at what hour?",
            "上岸的鱼有多少吨？是几点？",
            55,
            "A tall infographic: one day at a harbour, hour by hour from midnight to midnight, the tide along its left side.",
            "一张长信息图：从午夜到午夜，逐小时展示港口的一天，左侧是潮位曲线。",
        ),
        draw_infographic,
    ),
    (
        Example(
            "chart.png",
            "Bar chart",
            "柱状图",
            "Which ferry line lost passengers from 2024 to 2025?",
            "2024 到 2025 年，哪条渡轮线路的乘客减少了？",
            16,
            "A bar chart of ferry passengers on six lines in 2024 and 2025.",
            "柱状图：六条渡轮线路 2024 年与 2025 年的乘客数。",
        ),
        draw_chart,
    ),
    (
        Example(
            "paper.png",
            "Page of a paper",
            "论文页面",
            "What is p50 at 400 m according to Table 1?",
            "根据表 1，400 m 时的 p50 是多少？",
            55,
            "A page of a paper in two columns with a figure of three curves, a table and references.",
            "一页双栏论文，含三条曲线的插图、一张表格和参考文献。",
        ),
        draw_paper,
    ),
    (
        Example(
            "spreadsheet.png",
            "Spreadsheet",
            "电子表格",
            "Which ship had the most containers per hour?",
            "哪艘船每小时装卸的集装箱最多？",
            25,
            "A spreadsheet window with a log of twenty-five ship calls in March.",
            "电子表格窗口，记录三月份的二十五次船舶靠泊。",
        ),
        draw_spreadsheet,
    ),
)


def write_examples(folder: Path) -> list[Path]:
    """Draw every example and the manifest into ``folder``. Returns the files. Raises FontsMissing."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for example, draw in EXAMPLES:
        path = folder / example.file
        draw().save(path, **SAVE_OPTIONS[path.suffix])
        written.append(path)
    manifest = folder / MANIFEST
    manifest.write_text(manifest_text(), encoding="utf-8")
    return [*written, manifest]


def manifest_text() -> str:
    """The manifest as it is stored: JSON, one object an example, in the order of the strip."""
    return json.dumps([asdict(example) for example, _ in EXAMPLES], ensure_ascii=False, indent=2) + "\n"
