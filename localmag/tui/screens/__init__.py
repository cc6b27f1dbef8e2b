"""Whole screens: what keys do, and where events become drawing."""
