#pragma once

#include "one_of.hpp"

#include <moe/moe.hpp>

#include <string>
#include <vector>

/// Every balancer of the comparison. One more: its type here, its row in all_balancers().
using AnyBalancer = OneOf<moe::NoBalance, moe::SwitchLoss, moe::Balance<moe::SwitchLoss, moe::ZLoss>,
                          moe::SequenceBalance, moe::GlobalBalance, moe::ImportanceLoss, moe::LoadLoss,
                          moe::Balance<moe::ImportanceLoss, moe::LoadLoss>, moe::EntropyLoss, moe::LossFreeBias>;

/// A column of the comparison.
struct BalancerChoice {
  std::string name;  ///< "switch+z"
  std::string what;
  AnyBalancer policy;
};

std::vector<BalancerChoice> all_balancers();
