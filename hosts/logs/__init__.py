"""The workers' access and error logs, read for people (docs/adr/0042).

Laws of this package:
- Files are read only, piece by piece from their ends; none is ever loaded whole. Every search has a deadline, a limit
  of bytes and one of lines, and says where it goes on.
- What is opened is a regular file inside the log directory whose name the worker could have given: what comes from a
  request chooses among those that are there, and never becomes a part of a path.
- Lines hold what strangers sent. They are texts, escaped wherever they are shown; a line that is not what it should be
  is left out and stops nothing.
- The files of this machine are all that there is here.
"""
