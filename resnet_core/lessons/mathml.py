"""Formulas in MathML, which browsers draw without any library: a letter is a variable, any other text a sign."""

from __future__ import annotations

from html import escape


def formula(*parts: str) -> str:
    """A formula on a line of its own."""
    return f'<math display="block">{row(*parts)}</math>'


def row(*parts: str) -> str:
    """One after another; a part that is no MathML yet is a variable, a number or a sign.

    Parentheses are as high as a fraction among the parts, but not as what stands below a sum beside them.
    """
    high = any(part.startswith("<mfrac>") for part in parts)
    return f"<mrow>{''.join(_part(part, high) for part in parts)}</mrow>"


def sub(base: str, *index: str) -> str:
    """With an index below."""
    return f"<msub>{_part(base)}{row(*index)}</msub>"


def power(base: str, exponent: str) -> str:
    """With an exponent."""
    return f"<msup>{_part(base)}{_part(exponent)}</msup>"


def fraction(above: str, below: str) -> str:
    """A fraction."""
    return f"<mfrac>{_part(above)}{_part(below)}</mfrac>"


def root(inside: str) -> str:
    """A square root."""
    return f"<msqrt>{_part(inside)}</msqrt>"


def total(over: str) -> str:
    """A sum over an index."""
    return f'<munder><mo>∑</mo>{_part(over)}</munder><mspace width=".2em"/>'


def largest(over: str) -> str:
    """A maximum over an index."""
    return f'<munder><mi>max</mi>{_part(over)}</munder><mspace width=".2em"/>'


def _part(text: str, high: bool = False) -> str:
    if text.startswith("<"):
        return text
    if text.replace(".", "").isdigit():
        return f"<mn>{text}</mn>"
    if text in "()" and not high:
        return f'<mo stretchy="false">{text}</mo>'
    return f"<mi>{escape(text)}</mi>" if text.isalpha() else f"<mo>{escape(text)}</mo>"
