"""From evidence to a cause, without I/O: `log_cut` bounds a log, `facts` names what is structural, `match` applies the
rules, `score` counts how often they are right. Pure: no clock, no vendor.
"""
