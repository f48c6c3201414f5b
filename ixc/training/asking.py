"""How people ask about documents, and the fixed sentences the model answers with. English only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

NOT_THERE = "I can't find that in this image."
NO_TEXT = "I can't find any text in this image. I read documents, not photographs."
BEYOND = "I can read text, tables and simple charts; I can't answer that."
BUDGETS = (4, 9, 16, 25, 55)
"""Budgets that a refusal may name."""
TOO_SMALL = "The text is too small to read here."
TOO_SMALL_AT_336 = f"{TOO_SMALL} Try an input of 1008 pixels."
"""What INF-LLaVA says, which has two inputs and no budgets; the second where the larger input would do."""

FIELD = (
    "What is the {name}?",
    "What is the {name}?",
    "What's the {name}?",
    "Read the {name}.",
    "Tell me the {name}.",
    "Give me the {name}.",
    "What does it say for {name}?",
    "{name}?",
    "Please find the {name}.",
    "Which {name} is given?",
)
FIELD_NEXT = ("And the {name}?", "What about the {name}?", "And what is the {name}?", "Now the {name}.", *FIELD)
ITEM_PRICE = (
    "How much is the {name}?",
    "What does {name} cost?",
    "What is the price of {name}?",
    "How much does {name} cost?",
    "Price of {name}?",
)
ITEM_PRICE_NEXT = ("And {name}?", "And the {name}?", "What about {name}?", *ITEM_PRICE)
CELL = (
    "What is the {col} of {row}?",
    "What is {row}'s {col}?",
    "What is in row {row}, column {col}?",
    "What is the value for {row} in {col}?",
    "Read row {row}, column {col}.",
    "{row}, {col}?",
    "What is the {col} for {row}?",
)
CELL_NEXT = ("And the {col} of {row}?", "What about {row}, {col}?", *CELL)
ROW = ("Read the row {name}.", "What is in the row {name}?", "Read row {name}.", "Transcribe the row {name}.")
CHART = (
    "What is the value for {name}?",
    "What is the value of {name}?",
    "How much is {name}?",
    "What value does {name} have?",
    "Read the value for {name}.",
    "{name}?",
)
CHART_NEXT = ("And {name}?", "What about {name}?", "And for {name}?", *CHART)
HIGHEST = ("Which is highest?", "Which is the largest?", "Which has the highest value?")
HIGHEST_IN = {
    "bar chart": "Which bar is the longest?",
    "line chart": "Where is the line highest?",
    "pie chart": "Which slice is the largest?",
}
LOWEST = ("Which is lowest?", "Which is the smallest?", "Which has the lowest value?")
LOWEST_IN = {
    "bar chart": "Which bar is the shortest?",
    "line chart": "Where is the line lowest?",
    "pie chart": "Which slice is the smallest?",
}
TITLE = ("What is the title?", "Read the title.", "Read the heading.", "What does the heading say?", "Read the first line.")
SELLER = ("What is the name of the shop?", "Where is it from?", "Who is it from?", "Which company is it from?", *TITLE)
KIND = (
    "What kind of image is this?",
    "What is this?",
    "What kind of document is this?",
    "Describe the image.",
    "What does the image show?",
    "What type of document is it?",
)
READ = (
    "What does the sign say?",
    "Read the text.",
    "Transcribe this label.",
    "What is written here?",
    "What does it say?",
    "Read the sign.",
    "What text is in the image?",
    "Please transcribe the text in this image.",
    "What is written on the label?",
    "Read this.",
    "What is the text?",
    "What does the label say?",
    "Transcribe the text.",
    "Read the paragraph.",
)
COUNT = ("How many {name} are there?", "Count the {name}.", "How many {name} do you see?", "How many {name}?")
COLOUR = ("What colour is the {name}?", "Which colour does the {name} have?", "What is the colour of the {name}?")
BEYOND_QUESTIONS = (
    "How many people are there?",
    "Is there a dog?",
    "Where was this taken?",
    "What animal is this?",
    "Who painted this?",
    "Write a poem.",
    "What is the capital of France?",
    "Translate it into German.",
    "Do you like it?",
    "What will the weather be?",
)


def too_small(budget: int) -> str:
    """What is said when the text cannot be read at the budget used; ``budget`` would do."""
    return f"{TOO_SMALL} Try {budget} patches."


def ask(rng: np.random.Generator, phrasings: Sequence[str], names: Mapping[str, str]) -> str:
    """One of the phrasings, filled in; at times without its case or its closing mark, as people type."""
    text = phrasings[rng.integers(len(phrasings))].format(**names)
    text = text[:1].upper() + text[1:]
    if rng.random() < 0.15:
        text = text[:1].lower() + text[1:]
    if rng.random() < 0.15:
        text = text.rstrip("?.!")
    return text
