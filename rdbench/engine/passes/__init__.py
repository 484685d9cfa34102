"""Families of quantities: what each asks for, and how it is measured."""
