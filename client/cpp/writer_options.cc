#include "client/cpp/writer_options.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace ptychoserve::client {
namespace {

constexpr std::size_t kMaxProducerLength = 64;

}  // namespace

absl::Status CheckProducer(const std::string& producer) {
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("._:-").find(c) != std::string_view::npos;
  };
  if (!producer.empty() && producer.size() <= kMaxProducerLength &&
      std::ranges::all_of(producer, allowed)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "producer '", producer, "': 1 to ", kMaxProducerLength, " of [A-Za-z0-9._:-] are allowed"));
}

}  // namespace ptychoserve::client
