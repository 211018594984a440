#include "server/ingest/frame_message.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace ptychoserve::server {
namespace {

using google::protobuf::util::MessageDifferencer;

std::string Contents(const ByteChain& chain) {
  std::string out(chain.size(), '\0');
  chain.CopyTo(0, std::as_writable_bytes(std::span(out)));
  return out;
}

ByteChain InOnePiece(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

// Pieces as a network makes them; each lies in memory of its own, so that reading beyond it shows
// under AddressSanitizer.
class RandomPieces {
 public:
  RandomPieces(const std::string& bytes, std::mt19937& random) {
    for (std::size_t begin = 0; begin < bytes.size();) {
      const std::size_t count = std::min<std::size_t>(1 + random() % 40, bytes.size() - begin);
      pieces_.push_back(std::make_unique<std::string>(bytes.substr(begin, count)));
      pieces_.back()->shrink_to_fit();
      chain_.Append(std::as_bytes(std::span(*pieces_.back())));
      begin += count;
    }
  }
  const ByteChain& chain() const { return chain_; }

 private:
  std::vector<std::unique_ptr<std::string>> pieces_;
  ByteChain chain_;
};

// The two parsers say the same about `bytes`.
testing::AssertionResult SameAsGenerated(const std::string& bytes, const ByteChain& chain) {
  v1::StreamFramesRequest expected;
  const bool valid = expected.ParseFromString(bytes);
  FrameMessage message;
  if (ParseFrameMessage(chain, &message) != valid) {
    return testing::AssertionFailure() << "the generated parser says " << valid;
  }
  if (!valid) return testing::AssertionSuccess();
  if (Contents(message.payload) != expected.batch().data()) {
    return testing::AssertionFailure() << "another payload";
  }
  if (message.request.has_batch()) message.request.mutable_batch()->clear_data();
  if (expected.has_batch()) expected.mutable_batch()->clear_data();
  std::string difference;
  MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  if (!differencer.Compare(expected, message.request)) {
    return testing::AssertionFailure() << difference;
  }
  return testing::AssertionSuccess();
}

std::string Field(int number, int wire_type) {
  return std::string(1, static_cast<char>(number << 3 | wire_type));
}
std::string Bytes(int number, const std::string& value) {
  EXPECT_LT(value.size(), 128u);
  return Field(number, 2) + static_cast<char>(value.size()) + value;
}

v1::StreamFramesRequest RandomRequest(std::mt19937& random) {
  v1::StreamFramesRequest request;
  if (random() % 8 == 0) {
    request.mutable_open()->set_session("sessions/" + std::to_string(random() % 100));
    return request;
  }
  v1::FrameBatch& batch = *request.mutable_batch();
  batch.set_first_frame_id(static_cast<std::int64_t>(random()) - (1 << 30));
  batch.set_count(random() % 300);
  for (std::uint32_t i = random() % 5; i > 0; --i) batch.add_frame_ids(random());
  if (random() % 2 == 0) batch.set_dtype(v1::DataType(random() % 7));
  batch.set_rows(random() % 70000);
  batch.set_cols(random() % 200);
  if (random() % 2 == 0) batch.set_encoding(v1::Encoding(random() % 5));
  for (std::uint32_t i = random() % 4; i > 0; --i) batch.add_encoded_sizes(random());
  std::string data(random() % 400, '\0');
  for (char& c : data) c = static_cast<char>(random());
  batch.set_data(data);
  return request;
}

TEST(FrameMessage, PayloadIsNotMoved) {
  std::mt19937 random(1);
  v1::StreamFramesRequest request;
  request.mutable_batch()->set_count(3);
  request.mutable_batch()->set_data(std::string(1000, 'x'));
  const std::string bytes = request.SerializeAsString();
  FrameMessage message;
  ASSERT_TRUE(ParseFrameMessage(InOnePiece(bytes), &message));
  ChainReader reader(message.payload);
  EXPECT_EQ(static_cast<const void*>(reader.Read(0, 1000)), bytes.data() + bytes.size() - 1000);
  EXPECT_EQ(message.request.batch().count(), 3u);
}

TEST(FrameMessage, ValidMessagesInAnyPieces) {
  std::mt19937 random(2);
  for (int i = 0; i < 2000; ++i) {
    const std::string bytes = RandomRequest(random).SerializeAsString();
    ASSERT_TRUE(SameAsGenerated(bytes, RandomPieces(bytes, random).chain())) << i;
    ASSERT_TRUE(SameAsGenerated(bytes, InOnePiece(bytes))) << i;
  }
}

TEST(FrameMessage, SeveralMessagesInOneAreMergedAsEver) {
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes;
    for (std::uint32_t n = 2 + random() % 3; n > 0; --n) {
      bytes += RandomRequest(random).SerializeAsString();
    }
    ASSERT_TRUE(SameAsGenerated(bytes, RandomPieces(bytes, random).chain())) << i;
  }
}

TEST(FrameMessage, DamagedMessages) {
  std::mt19937 random(4);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = RandomRequest(random).SerializeAsString();
    if (bytes.empty()) continue;
    // Near the front, where the structure is, more often than not.
    const auto place = [&] {
      const std::size_t most =
          random() % 3 != 0 ? std::min<std::size_t>(bytes.size(), 40) : bytes.size();
      return random() % most;
    };
    for (std::uint32_t n = 1 + random() % 3; n > 0 && !bytes.empty(); --n) {
      switch (random() % 4) {
        case 0:
          bytes[place()] = static_cast<char>(random());
          break;
        case 1:
          bytes.insert(place(), 1, static_cast<char>(random()));
          break;
        case 2:
          bytes.erase(place(), 1 + random() % 3);
          break;
        default:
          bytes.resize(place());
          break;
      }
    }
    ASSERT_TRUE(SameAsGenerated(bytes, RandomPieces(bytes, random).chain())) << i;
  }
}

TEST(FrameMessage, RareFormsOfTheSameThing) {
  std::mt19937 random(5);
  const std::string data = Bytes(15, "pixels");
  const std::string cases[] = {
      "",                                                            // Nothing.
      Bytes(2, ""),                                                  // An empty batch.
      Bytes(2, Bytes(15, "")),                                       // An empty payload.
      Bytes(2, Bytes(15, "first") + Bytes(15, "last")),              // The last one counts.
      Bytes(2, data) + Bytes(2, Field(2, 0) + "\x05"),               // Merged: the payload stays.
      Bytes(2, data) + Bytes(1, "") + Bytes(2, Bytes(3, "\x01")),    // Not merged.
      Bytes(2, data + Field(2, 0) + "\x05"),                         // Fields behind the payload.
      Bytes(2, Bytes(3, "\x01\x02") + Field(3, 0) + "\x03" + data),  // Packed and not.
      Bytes(7, "unknown") + Bytes(2, Field(30 / 2, 0) + "\x01" + data),
      Bytes(2, Field(9, 3) + data + Field(9, 4) + data),  // A group, which is unknown.
      Field(9, 3) + Bytes(2, data) + Field(9, 4),
      Bytes(2, Field(9, 3) + data),              // A group without an end.
      Bytes(2, data) + Field(9, 4),              // An end without a group.
      Bytes(2, data + Field(1, 6)),              // No such wire type.
      Field(0, 0) + "\x01",                      // No such field.
      Field(2, 2) + "\x85" + std::string(1, 0),  // Too short for its length.
      Field(2, 2) + "\x88\x80\x80\x80" + std::string(1, 0) +
          data,  // A length longer than it need be.
      Field(2, 2) + "\x88\x80\x80\x80\x80" + std::string(1, 0) + data,
      Field(2, 2) + "\xff\xff\xff\xff\x0f" + data,  // A negative length.
      Field(2, 2) + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + data,
      "\x92\x80\x80\x80" + std::string(1, 0) + "\x08" + data,  // A tag longer than it need be.
      "\x92\x80\x80\x80\x80" + std::string(1, 0) + "\x08" + data,
      "\x92\x80\x80\x80\x10\x08" + data,                               // A tag beyond 32 bits.
      Bytes(2, Field(1, 0) + std::string(9, '\xff') + "\x01" + data),  // -1
      Bytes(2, Field(1, 0) + std::string(10, '\xff') + "\x01" + data),
      Bytes(1, Bytes(1, "\xff\xfe")),  // A string that is not UTF-8.
      Bytes(1, Bytes(1, "session")) + Bytes(2, data),
      Bytes(2, data) + Bytes(1, Bytes(1, "session")),
  };
  for (const std::string& bytes : cases) {
    EXPECT_TRUE(SameAsGenerated(bytes, InOnePiece(bytes)))
        << &bytes - cases << ": " << testing::PrintToString(bytes);
    EXPECT_TRUE(SameAsGenerated(bytes, RandomPieces(bytes, random).chain())) << &bytes - cases;
  }
}

}  // namespace
}  // namespace ptychoserve::server
