"""The access log: a line for each answered request, in files for each host or on standard output.

Beside the files stand those of the error log: a line for each failed attempt at an upstream, with its diagnosis.

Laws of this package:
- Traffic never waits for it. A request costs one tuple in a list; lines are made in slices between events, and written
  by a thread of their own. Whatever cannot be kept is dropped and counted.
- A line is whole or not there at all, also when several processes write the same file.
- Nothing of a request is written but what `lines` names: no field values but Referer and User-Agent.
"""
