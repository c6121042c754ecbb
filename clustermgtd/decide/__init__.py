"""The decisions: a complete snapshot in, a plan out. Pure and synchronous.

`sync` says what the world did to the claims, `liveness`, `demand` and `garbage_collection` say what shall be done,
`capacity` shapes launches, `outcome` turns a fleet reply into claims, `plan.decide` puts them together.
"""
