"""How well a network remembers an experience: four measures of one forward pass, at one weights version.

| module | what lives there |
|---|---|
| `measures.py` | the names of the measures; a number with its halves |
| `pools.py` | frames of each world that no learner trained on |
| `forward.py` | predictions and targets under fixed masks |
| `gallery.py` | a pool's targets: their mean, and how like them a prediction is |
| `bits.py` | memory bits, and the temperature |
| `reference.py` | the frozen reference and the readout into it |
| `meter.py` | all of it at one version, in slices |
"""
