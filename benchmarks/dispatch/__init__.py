"""How good are the plans, how fast do they come, and beside whom?"""
