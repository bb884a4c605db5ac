//! What the log promises: order, durability before acknowledgement, and refusal of what is damaged.

mod damage;
mod fixture;
mod order;
mod reads;
mod sweeping;
