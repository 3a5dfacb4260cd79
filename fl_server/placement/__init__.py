"""Which devices fit a job, which of them it takes, and when its turn comes. Pure: facts in, decisions out.

`selectors.placement` reads the facts, `services.scheduling` acts on the decisions.
"""
