#ifndef PTYCHOSERVE_ENGINE_BASE_STATUS_MACROS_H_
#define PTYCHOSERVE_ENGINE_BASE_STATUS_MACROS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expr`, an absl::Status, is an error.
#define PS_RETURN_IF_ERROR(expr)                                            \
  do {                                                                      \
    if (absl::Status ps_status = (expr); !ps_status.ok()) return ps_status; \
  } while (false)

// Evaluates `expr`, an absl::StatusOr<T>; returns its error, or moves its value into `lhs`.
#define PS_ASSIGN_OR_RETURN(lhs, expr) \
  PS_ASSIGN_OR_RETURN_IMPL_(PS_CONCAT_(ps_status_or_, __LINE__), lhs, expr)

#define PS_CONCAT_INNER_(a, b) a##b
#define PS_CONCAT_(a, b) PS_CONCAT_INNER_(a, b)
// `status_or` is a new name and `lhs` may declare one: neither can stand in parentheses.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define PS_ASSIGN_OR_RETURN_IMPL_(status_or, lhs, expr)      \
  auto status_or = (expr);                                   \
  if (!status_or.ok()) return std::move(status_or).status(); \
  lhs = *std::move(status_or)
// NOLINTEND(bugprone-macro-parentheses)

#endif  // PTYCHOSERVE_ENGINE_BASE_STATUS_MACROS_H_
