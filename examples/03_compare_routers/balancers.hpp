#pragma once

#include "one_of.hpp"
#include "routers.hpp"

#include <moe/moe.hpp>

#include <string>
#include <vector>

/// Every balancer of the comparison. One more: its type here, its row in all_balancers().
using AnyBalancer =
    OneOf<moe::NoBalance, moe::SwitchLoss, moe::Balance<moe::SwitchLoss, moe::ZLoss>, moe::SequenceBalance,
          moe::GlobalBalance, moe::ImportanceLoss, moe::LoadLoss, moe::Balance<moe::ImportanceLoss, moe::LoadLoss>,
          moe::EntropyLoss, moe::LossFreeBias>;

/// A column of the comparison.
struct BalancerChoice {
  std::string name;  ///< "switch+z"
  std::string what;
  AnyBalancer policy;

  bool is_none() const { return std::holds_alternative<moe::NoBalance>(policy.chosen); }
  template <class F>
  auto with(const F& f) const {
    return std::visit(f, policy.chosen);
  }
};

std::vector<BalancerChoice> all_balancers();

/// Why the two are not tried together; empty: they are.
std::string why_not(const RouterChoice& router, const BalancerChoice& balancer, int micro_batches);
