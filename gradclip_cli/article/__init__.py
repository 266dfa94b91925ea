"""The article: its claims and their rules, its reproduction, and two frameworks held together."""
