"""The language model with named dimensions. In reading order:

dims              every axis of the model
weights           names and shapes of the weights, and a typed view of them
linear            products with weights, norms, activations
attention         masks and softmax attention of one core's heads
positions         rotary and relative positions
remat             what the backward pass computes once more
decoder           the layer, and the one loop over layers
packed_attention  attention for training, over packed rows
prefix_tree       attention for scoring, over rows of prefix trees
kv_cache          attention for decoding, with a key/value cache
next_token        chooses tokens from logits
adapters          LoRA and soft prompts
"""
