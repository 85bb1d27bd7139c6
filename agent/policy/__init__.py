"""Pure rules, one subject per file: facts in, an answer out. No clock, no I/O, no store.

`steps/plan.py` asks them in order: holds (do nothing now, because), limits (nothing may run, because), ladder (which remedy),
permission (may it run by itself). `streaks` turns single looks into verdicts; `neighbours` says whether things got worse.
"""
