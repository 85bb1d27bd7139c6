"""The steps of `heal`, one public function each. They do not import one another; `agent/heal.py` orders them."""
