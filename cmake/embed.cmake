# Checks a SPIR-V file and writes its words as the inside of a C array.
#   cmake -DSPIRV_VAL=program -DSPIRV=in.spv -DWORDS=out.inc -P embed.cmake
execute_process(COMMAND ${SPIRV_VAL} --target-env vulkan1.2 ${SPIRV} RESULT_VARIABLE result OUTPUT_VARIABLE said
  ERROR_VARIABLE said)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${SPIRV} is not valid for Vulkan 1.2:\n${said}")
endif()
file(READ ${SPIRV} bytes HEX)
string(REGEX REPLACE "(..)(..)(..)(..)" "0x\\4\\3\\2\\1," words "${bytes}")
string(REGEX REPLACE "(0x........,0x........,0x........,0x........,0x........,0x........,0x........,0x........,)"
  "\\1\n" words "${words}")
file(WRITE ${WORDS} "${words}\n")
