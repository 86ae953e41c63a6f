#include "balancers.hpp"

std::vector<BalancerChoice> all_balancers() {
  return {
      {"none", "no balancer", {moe::NoBalance{}}},
      {"switch", "Switch loss, weight 0.01", {moe::SwitchLoss{}}},
      {"switch+z",
       "Switch loss, weight 0.01, and z-loss, weight 0.001",
       {moe::Balance{moe::SwitchLoss{}, moe::ZLoss{}}}},
      {"sequence",
       "Switch loss within each 64 bytes of a batch (drawn in any order), weight 0.01",
       {moe::SequenceBalance{.weight = 0.01f, .sequence_length = 64}}},
      {"global", "Switch loss over the micro-batches of a step, weight 0.01", {moe::GlobalBalance{}}},
      {"importance", "importance loss, weight 0.01", {moe::ImportanceLoss{}}},
      {"load", "load loss, weight 0.01", {moe::LoadLoss{}}},
      {"importance+load",
       "importance and load loss, weight 0.01 each",
       {moe::Balance{moe::ImportanceLoss{}, moe::LoadLoss{}}}},
      {"entropy",
       "mutual information of bytes and experts, weight 0.01",
       {moe::EntropyLoss{.token = 0.01f, .batch = 0.01f}}},
      {"bias", "loss-free bias, rate 0.001", {moe::LossFreeBias{}}},
  };
}
