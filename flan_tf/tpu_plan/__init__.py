"""Programs for TPUs that are not here: lowered, compiled, judged, executed.

abstract    a strategy that runs nothing: slices without values
lower       a program of one core as HLO
compiled    the TPU compiler's answer: memory, work, time, collectives
execute     the same HLO on virtual cores
worker      the process that does all this, in an environment of its own
request     what is asked, and what is answered

Around it, where no TensorFlow is needed (launch.plan):

chips         generations and slices; weights, arithmetic: sizes and shares
sources       what an answer hangs on; cache, environment: where it comes from
grid          the mesh as plain numbers
roofline      an estimate by hand, to put in order what search tries
search        meshes and layouts that divide; remedy: what would fit instead
scaling       sizes on numbers of cores, and what stops them
verdict, ranking, table    the same for people and for programs
"""
