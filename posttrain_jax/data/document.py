"""Long documents and the part of them that an instruction is about: LongPO's rows.

The model itself writes the instruction and the chosen answer from the part, and the rejected answer from the whole.

Source: Chen et al. 2025 (LongPO, arXiv:2502.13922); the words between document and instruction are ours.
"""

from collections.abc import Sequence

from posttrain_jax.data import column, encode, fields

PROMPT = """{document}

{instruction}
"""
"""What the model reads, be the document whole or a part."""


def parts(document: str, *, words: int) -> list[str]:
    """The document cut between paragraphs (empty lines) into parts of at most `words` words; longer paragraphs are cut.

    Every word stands in exactly one part. The paper has at most 4 parts of up to 32,000 tokens.
    """
    if words < 1:
        raise ValueError(f"parts of {words} words hold nothing: allow at least 1.")
    found: list[list[str]] = [[]]
    for paragraph in document.split("\n\n"):
        own = paragraph.split(" ")
        pieces = [" ".join(own[start : start + words]) for start in range(0, len(own), words)]
        for piece in pieces:
            held = sum(len(text.split()) for text in found[-1])
            if found[-1] and held + len(piece.split()) > words:
                found.append([])
            found[-1].append(piece)
    return ["\n\n".join(texts) for texts in found]


def preference(document: str, instruction: str, *, chosen: str, rejected: str) -> fields.Preference:
    """The pair after the whole document."""
    return fields.Preference(PROMPT.format(document=document, instruction=instruction), chosen, rejected)


def with_short_prompts(
    rows: Sequence[encode.TokenRow],
    sources: Sequence[tuple[str, str]],
    tokenizer: encode.Tokenizer,
    *,
    width: int,
) -> list[encode.TokenRow]:
    """The rows with the column `short_prompt`.

    Args:
        rows: encoded pairs after whole documents.
        sources: part and instruction of each source row; `row.index` says which is whose.
        tokenizer: of the model.
        width: of the column, in tokens.
    """
    texts = [PROMPT.format(document=part, instruction=instruction) for part, instruction in sources]
    shorts = [column.prompt(tokenizer.render_prompt(texts[row.index]), width) for row in rows]
    return column.attach(rows, "short_prompt", shorts)
