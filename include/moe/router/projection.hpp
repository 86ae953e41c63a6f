#pragma once

#include <moe/core/concepts.hpp>

namespace moe {

/// \file
/// A projection makes logits out of tokens. It has Parameters, Tape and Workspace with what makes them, and limits, as
/// every policy (workspace may take the use as an expert's does), and
///
///     forward(context, p, inputs, routing, tape, workspace)   writes routing.logits; tape: NoTape in inference
///     backward(context, p, inputs, routing, tape, d_logits, dx, g, options, workspace)
///                                                             writes the gradients of p, adds to dx; the inputs hold
///                                                             x alone: what is needed of others is kept on the tape
///     static constexpr bool needs_sides = true                asks for side inputs (moe::Step, ...)
///     static constexpr bool draws_noise = true                fills routing.noise in training
///     static constexpr bool masks_experts = true              may set logits to out_of_service
///
/// where the last three may be left out. One projection may wrap another: Jitter<LinearProjection<>>; so x and dx are of
/// the storage type or wider.

namespace detail {

template <class ProjectionT>
concept MasksExperts = ProjectionT::masks_experts;

}  // namespace detail
}  // namespace moe
