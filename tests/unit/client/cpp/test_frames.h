#ifndef PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_TEST_FRAMES_H_
#define PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_TEST_FRAMES_H_

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "client/cpp/client.h"
#include "tests/unit/client/cpp/fake_service.h"

namespace ptychoserve::client {

inline constexpr std::chrono::milliseconds kLong{20'000};
inline constexpr FrameFormat kFormat{v1::DATA_TYPE_U16, 8, 8, v1::ENCODING_RAW};
inline constexpr std::size_t kFrameBytes = 128;

inline std::vector<std::byte> Frame(std::int64_t id) {
  return std::vector<std::byte>(kFrameBytes, static_cast<std::byte>(id % 251));
}

inline std::unique_ptr<Client> Connect(const FakeService& service) {
  auto client = Client::Connect(service.address());
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_TEST_FRAMES_H_
