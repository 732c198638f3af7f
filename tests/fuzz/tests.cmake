# weir_fuzz(NAME LIBRARIES …): tests/fuzz/NAME.cpp defines LLVMFuzzerTestOneInput, tests/fuzz/corpus/NAME/ holds its
# inputs. Always: a test (label unit) that feeds it the corpus. With WEIR_FUZZ also the fuzzer fuzz_NAME:
#   cmake -G Ninja -B build/fuzz -DCMAKE_CXX_COMPILER=clang++-14 -DCMAKE_C_COMPILER=clang-14 -DWEIR_FUZZ=ON \
#         -DWEIR_SANITIZE=fuzzer-no-link,address,undefined
#   ninja -C build/fuzz fuzz_NAME && build/fuzz/tests/fuzz_NAME -max_total_time=60 -max_len=4096 NEW_INPUTS tests/fuzz/corpus/NAME
# WEIR_SANITIZE instruments our libraries too; without it the fuzzer would not see which way they go.
set(WEIR_FUZZ_DIR ${CMAKE_CURRENT_LIST_DIR})

function(weir_fuzz name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBRARIES")
  add_executable(replay_${name} ${WEIR_FUZZ_DIR}/${name}.cpp ${WEIR_FUZZ_DIR}/replay_main.cpp)
  target_link_libraries(replay_${name} PRIVATE ${arg_LIBRARIES} weir_warnings)
  add_test(NAME unit.replay_${name} COMMAND replay_${name} ${WEIR_FUZZ_DIR}/corpus/${name})
  set_tests_properties(unit.replay_${name} PROPERTIES LABELS unit TIMEOUT 120)
  if(NOT WEIR_FUZZ)
    return()
  endif()
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "WEIR_FUZZ needs clang's libFuzzer: -DCMAKE_CXX_COMPILER=clang++-14 (Debian: clang-14, libfuzzer-14-dev)")
  endif()
  add_executable(fuzz_${name} ${WEIR_FUZZ_DIR}/${name}.cpp)
  target_link_libraries(fuzz_${name} PRIVATE ${arg_LIBRARIES} weir_warnings)
  target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined)
endfunction()

weir_fuzz(config_reader LIBRARIES weir_config)
weir_fuzz(netbox_error LIBRARIES weir_throttle)
weir_fuzz(volid LIBRARIES weir_proxmox)
weir_fuzz(netbox_answer LIBRARIES weir_netbox nlohmann_json::nlohmann_json)
weir_fuzz(lock_record LIBRARIES weir_store)
weir_fuzz(latencies LIBRARIES weir_throttle)
weir_fuzz(scenario_reader LIBRARIES weir_config)
weir_fuzz(rest_paging LIBRARIES weir_source nlohmann_json::nlohmann_json)
weir_fuzz(stage_wire LIBRARIES weir_plugin)
weir_fuzz(serve_request LIBRARIES weir_serve)
weir_fuzz(plan_file LIBRARIES weir_engine nlohmann_json::nlohmann_json)
