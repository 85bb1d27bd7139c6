"""The control layer around a language model: what it is told, what it may ask, what it may cost, and what of it is believed.

It assumes that the model is hostile. Words: docs/glossary.md.
"""
