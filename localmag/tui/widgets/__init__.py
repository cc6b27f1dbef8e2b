"""Widgets. They hold nothing but what they draw."""
