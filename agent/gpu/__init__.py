"""What NVIDIA's tools say, as nouns: nvidia-smi's tables, Xid lines of the kernel log, the metrics of the DCGM exporter.

Pure: text in, `agent.model` out. NVIDIA does not promise that the text stays as it is (nvidia-smi(1)), so fields are found by
name, an unknown one is passed over, and whatever does not read as a value is "not known", never zero.
"""
