"""How good speech or sound is, as networks were trained to estimate what listeners say."""
