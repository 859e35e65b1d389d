"""Random injections of faults into small runs, each compared with the same run left alone.

An injection is a fault of some kind at some moment of a run. The run then goes on by itself, or it ends and is resumed
until it is finished. Whatever happens, in the end the ledger must hold the trainings of the undisturbed run, each once
and each with its numbers, bit for bit; a command that ends must do so in time, in one line, and leave no process.
"""
